"""Agents as a service: adaptive experiments on Bluesky, hosted, watched and steered over HTTP.

The import of this package is cheap: each public name is loaded at its first use.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.util import spec_from_loader
from typing import TYPE_CHECKING, Any

from agent_service._version import __version__ as __version__
from agent_service.references import lazy, put_off

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from agent_service.archive.catalog import open_catalog
    from agent_service.brains.declared import method, variable
    from agent_service.client import AsyncClient, Client
    from agent_service.client.run_agent import run_agent
    from agent_service.errors import ServiceError
    from agent_service.executors.notices import progress
    from agent_service.launch.local import serve
    from agent_service.models import AgentSpec
    from agent_service.server.app import create_app
    from agent_service.service.config import ServiceConfig

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
    "ServiceConfig": "service.config",
    "ServiceError": "errors",
    "create_app": "server.app",
    "method": "brains.declared",
    "open_catalog": "archive.catalog",
    "progress": "executors.notices",
    "run_agent": "client.run_agent",
    "serve": "launch.local",
    "variable": "brains.declared",
}


_MOVED = {
    "agents.fair_lock": "agents.call_lock",
    "agents.points": "agents.sent_points",
    "beamline": "plans.beamline",
    "brains.bayes": "brains.builtin.bayes",
    "brains.listed": "brains.allowed_modules",
    "brains.record": "brains.builtin.record",
    "brains.sequence": "brains.builtin.sequence",
    "brains.sobol": "brains.builtin.sobol",
    "catalog": "archive.catalog",
    "config": "service.config",
    "documents.copies": "documents.document_copies",
    "methods": "brains.declared",
    "models.number": "models.real_numbers",
    "notices": "executors.notices",
    "server.serving": "launch.local",
    "variables": "brains.declared",
}
"""Modules that had another name, and where they are now, including those in the documentation of 0.1.0."""


_public = lazy(__name__, _HOMES)


def __getattr__(name: str) -> object:
    return importlib.import_module(f"{__name__}.{_MOVED[name]}") if name in _MOVED else _public(name)


class _Moved(MetaPathFinder, Loader):
    """Finds a module of 0.1.0 under its former name: notebooks, configurations and journals may name it."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return a spec for a module that has moved, None for any other."""
        moved = _MOVED.get(fullname.removeprefix(f"{__name__}."))
        return None if moved is None else spec_from_loader(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module where it is now."""
        module = importlib.import_module(f"{__name__}.{_MOVED[spec.name.removeprefix(f'{__name__}.')]}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing but undo that the module was given a former name: it is there already."""
        spec = module.__spec__
        module.__spec__ = None if spec is None else spec.loader_state


# jsonschema imports it where JupyterLab is installed, and so does all that imports bluesky: it builds a grammar for 2 s
put_off("rfc3987_syntax", "is_valid_syntax")

sys.meta_path.insert(0, _Moved())  # first, for an empty folder would be found, too, at a former place


def load_ipython_extension(shell: Any) -> None:
    """Register the magics ``%agent_serve``, ``%agent_status``, ``%agent_panel``, ``%agent_stop``, ``%agent_export``.

    IPython calls it for ``%load_ext agent_service``.
    """
    importlib.import_module("notebook_widgets.magics").load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Undo `load_ipython_extension`, and close the service that the magics made.

    IPython calls it for ``%unload_ext agent_service``.
    """
    importlib.import_module("notebook_widgets.magics").unload(shell)
