"""The inbox of a service: the suggestions of all its agents that wait for a person's word."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from agent_service.models import EventKind
from agent_service.models.state_machines import SuggestionState
from notebook_widgets.panels import inbox
from notebook_widgets.panels.agent_view import entry, proposed
from notebook_widgets.panels.panel import Panel

if TYPE_CHECKING:
    from agent_service.client import AsyncClient
    from agent_service.models import Ends, Event, ServiceStatus, Suggestion
    from notebook_widgets.panels.event_feed import Update

_OF_AGENTS = frozenset({EventKind.AGENT_STATE, EventKind.CONFIG})


class SuggestionsPanel(Panel):
    """A live inbox across agents: approve, edit, reject.

    Parameters
    ----------
    target
        URL of the service, a client of it (with its key), or anything with a ``client``.

    Notes
    -----
    Actions for `act`: ``approve(id, point)``, ``reject(id)``, ``stop-everything``, ``resume-queue``,
    ``destroy-environment``.
    """

    modules: ClassVar = ("dom", "direct", "line", "inbox", "frame", "suggestions_panel")

    inbox: Any = traitlets.List(traitlets.Dict()).tag(sync=True)

    def __init__(self, target: object) -> None:
        self._proposed: dict[str, Suggestion] = {}
        self._limits: dict[str, dict[str, Ends]] = {}
        self._refused: dict[str, str] = {}
        self._service: ServiceStatus | None = None
        super().__init__(target)
        self.actions |= {"approve": inbox.remembering(self._refused, self.redraw), "reject": inbox.reject}

    async def traits_after(self, client: AsyncClient, update: Update, *, changed: bool) -> dict[str, Any]:
        """Return the service as it is now, and what waits."""
        kinds = {event.kind for event in update.events}
        if update.stale or kinds & _OF_AGENTS:
            agents, waiting = await asyncio.gather(client.agents(), client.suggestions(state="proposed"))
            self._limits = {agent.name: agent.limits for agent in agents}
            self._proposed = {suggestion.id: suggestion for suggestion in waiting}
        else:
            for event in update.events:
                self._take(event)
        if update.stale or changed or any(event.agent is None for event in update.events):
            self._service = await client.service()
        shown = {"queue", "archive", "state_dir"}
        return {
            "service": self._service.model_dump(mode="json", include=shown) if self._service else {},
            "inbox": [
                entry(suggestion, self._limits.get(suggestion.agent, {}), self._refused.get(suggestion.id, ""))
                for suggestion in self._proposed.values()
            ],
        }

    def _take(self, event: Event) -> None:
        if event.kind is not EventKind.SUGGESTION_STATE:
            return
        data: dict[str, Any] = event.data
        if data["state"] == SuggestionState.PROPOSED:
            self._proposed[data["id"]] = proposed(event)
        else:
            self._proposed.pop(data["id"], None)
