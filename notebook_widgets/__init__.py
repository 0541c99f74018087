"""Notebook widgets for agents: live panels of a service, over its HTTP API.

Examples
--------
>>> from agent_service import Client
>>> from notebook_widgets import AgentPanel
>>> AgentPanel(Client("http://127.0.0.1:8000", api_key="..."), "aligner")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.references import lazy

if TYPE_CHECKING:
    from notebook_widgets.panels.agent_panel import AgentPanel
    from notebook_widgets.panels.service_panel import ServicePanel
    from notebook_widgets.panels.suggestions_panel import SuggestionsPanel

__all__ = ["AgentPanel", "ServicePanel", "SuggestionsPanel"]

__getattr__ = lazy(
    __name__,
    {
        "AgentPanel": "panels.agent_panel",
        "ServicePanel": "panels.service_panel",
        "SuggestionsPanel": "panels.suggestions_panel",
    },
)
