"""The inbox of a service: the suggestions of all its agents that wait for a person."""

from __future__ import annotations

from typing import ClassVar

from agent_service.errors.texts import counted
from notebook_widgets.panels.panel import Panel


class SuggestionsPanel(Panel):
    """A live inbox across agents: approve, edit, reject.

    Parameters
    ----------
    target
        URL of the service, a client of it (with its key), or anything with a ``client``.
    """

    paths: ClassVar = ("service", "agents?limit=1000", "suggestions?state=proposed&limit=1000")

    def __init__(self, target: object) -> None:
        super().__init__(target, "inbox")

    def summary(self) -> str:
        """Return a line about what waits for a person."""
        waiting = self.answers.get(self.paths[-1], {"items": []})["items"]
        return f"{counted(len(waiting), 'suggestion')} to approve or reject at {self.url}" if self.answers else ""
