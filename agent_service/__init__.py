"""Agents as a service: adaptive experiments on Bluesky, hosted, watched and steered over HTTP.

Importing this package is cheap: each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent_service.archive.catalog import open_catalog
    from agent_service.brains.declared import method
    from agent_service.client import AsyncClient, Client
    from agent_service.errors import ServiceError
    from agent_service.executors.notices import progress
    from agent_service.launch.local import serve
    from agent_service.models import AgentSpec
    from agent_service.plans.library import run_agent
    from agent_service.server.app import create_app
    from agent_service.service.config import ServiceConfig
    from agent_service.variables import variable

__version__ = "0.1.0"

__all__ = [
    "AgentSpec",
    "AsyncClient",
    "Client",
    "ServiceConfig",
    "ServiceError",
    "create_app",
    "method",
    "open_catalog",
    "progress",
    "run_agent",
    "serve",
    "variable",
]

_HOMES = {
    "AgentSpec": "models",
    "AsyncClient": "client",
    "Client": "client",
    "ServiceConfig": "config",
    "ServiceError": "errors",
    "create_app": "server.app",
    "method": "methods",
    "open_catalog": "catalog",
    "progress": "notices",
    "run_agent": "plans",
    "serve": "server.serving",
    "variable": "variables",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def load_ipython_extension(shell: Any) -> None:
    """Register the magics ``%agent_serve``, ``%agent_status``, ``%agent_panel`` and ``%agent_stop``.

    IPython calls it for ``%load_ext agent_service``.
    """
    importlib.import_module("notebook_widgets.magics").load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Undo `load_ipython_extension`, and close the service that the magics made.

    IPython calls it for ``%unload_ext agent_service``.
    """
    importlib.import_module("notebook_widgets.magics").unload(shell)
