"""Jupyter widgets for `agent_service`: panels that call the same HTTP API as everybody else (in preparation)."""
