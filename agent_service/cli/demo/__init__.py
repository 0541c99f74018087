"""The demo: an agent aligns a simulated beamline before your eyes, over the same HTTP API that a beamline would use."""

from agent_service.cli.demo._flow import Demo, new_state

__all__ = ["Demo", "new_state"]
