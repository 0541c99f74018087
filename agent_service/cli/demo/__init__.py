"""The demo: an agent aligns a simulated beamline while you watch, over the HTTP API that a beamline uses."""

from agent_service.cli.demo._flow import Demo, new_state

__all__ = ["Demo", "new_state"]
