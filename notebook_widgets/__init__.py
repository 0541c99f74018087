"""Notebook widgets for agents: live panels of a service, over its HTTP API.

Examples
--------
>>> from agent_service import Client
>>> from notebook_widgets import AgentPanel
>>> AgentPanel(Client("http://127.0.0.1:8000", api_key="..."), "aligner")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notebook_widgets.panels.agent_panel import AgentPanel
    from notebook_widgets.panels.service_panel import ServicePanel
    from notebook_widgets.panels.suggestions_panel import SuggestionsPanel

__all__ = ["AgentPanel", "ServicePanel", "SuggestionsPanel"]

_HOMES = {
    "AgentPanel": "panels.agent_panel",
    "ServicePanel": "panels.service_panel",
    "SuggestionsPanel": "panels.suggestions_panel",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
