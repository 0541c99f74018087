"""Clients of a running service: `Client` for scripts and notebooks, `AsyncClient` for asyncio, with the same methods.

They load httpx, the HTTP models and the error tree, and nothing of Bluesky, numpy or FastAPI.

Examples
--------
>>> from agent_service import Client
>>> client = Client.from_state("agent-service.state")  # doctest: +SKIP
>>> client.create(name="scan", type="sobol", ...)  # doctest: +SKIP
>>> client.start("scan").state  # doctest: +SKIP
<AgentState.RUNNING: 'running'>
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.references import lazy

if TYPE_CHECKING:
    from agent_service.client._clients import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]

# whoever asks only for the services of this process loads no httpx
__getattr__ = lazy(__name__, dict.fromkeys(__all__, "_clients"))
