"""The live panel of an agent: its state, its best, its next suggestions, and the buttons to steer it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from agent_service.models.values import is_number
from notebook_widgets.panels.last_picture import summary, trace
from notebook_widgets.panels.panel import Panel

if TYPE_CHECKING:
    from agent_service.client import AsyncClient
    from notebook_widgets.panels.event_feed import Update


class AgentPanel(Panel):
    """A live panel of one agent.

    Parameters
    ----------
    target
        URL of the service, a client of it (with its key), or anything with a ``client``.
    name
        The agent. If it does not exist yet, the panel shows it as soon as it does.

    Examples
    --------
    >>> from agent_service import Client
    >>> from notebook_widgets import AgentPanel
    >>> panel = AgentPanel(Client("http://127.0.0.1:8000", api_key="..."), "aligner")  # doctest: +SKIP
    >>> panel.close()  # doctest: +SKIP
    """

    paths: ClassVar = ("service", "agents/{name}")

    def __init__(self, target: object, name: str) -> None:
        self.name = name
        self._pictured: object = None
        super().__init__(target, "agent", name)

    async def refresh(self, client: AsyncClient, update: Update) -> None:
        """Send an update to the page; draw the last picture when the agent's state changes."""
        await super().refresh(client, update)
        status = self._status
        if self._pictured == (now := (status.get("state"), status.get("reason"))) or "progress" not in status:
            return
        measured, outcome = list[float](), status["objective"]
        cursor: dict[str, Any] | None = {}
        while outcome and cursor is not None:
            page = await client.ask("GET", f"{self.asks[-1]}/points", params=cursor)
            measured += [row[outcome] for row in page["items"] if is_number(row.get(outcome))]
            cursor = {"cursor": page["next"]} if page["next"] else None
        self.last_picture.become(self.summary(), trace(outcome or "", measured))
        self._pictured = now

    def summary(self) -> str:
        """Return a line about the agent."""
        return summary(self._status) if "progress" in self._status else ""

    @property
    def _status(self) -> dict[str, Any]:
        return self.answers.get(self.asks[-1], {})

    def __repr__(self) -> str:
        state = self._status.get("state") or self.link.get("state")
        return f"<AgentPanel {self.name!r} of {self.url}: {state}>"
