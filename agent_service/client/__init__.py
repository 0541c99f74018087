"""Clients of a running service: `Client` for scripts and notebooks, `AsyncClient` for asyncio, with the same methods.

Needs httpx, the wire models and the error tree, and loads nothing of Bluesky, numpy or FastAPI.

Examples
--------
>>> from agent_service import Client
>>> client = Client.from_state("agent-service.state")  # doctest: +SKIP
>>> client.create(name="scan", type="sobol", ...)  # doctest: +SKIP
>>> client.start("scan").state  # doctest: +SKIP
<AgentState.RUNNING: 'running'>
"""

from agent_service.client._clients import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
