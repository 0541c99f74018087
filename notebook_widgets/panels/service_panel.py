"""A service, live: its agents, its plan queue, its archive; an agent's own panel opens below."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import ipywidgets
import traitlets

from agent_service.models import EventKind
from notebook_widgets.panels.agent_panel import AgentPanel
from notebook_widgets.panels.agent_view import rounded, summary
from notebook_widgets.panels.panel import Panel

if TYPE_CHECKING:
    from concurrent.futures import Future

    from agent_service.client import AsyncClient
    from agent_service.models import AgentStatus
    from notebook_widgets.panels.event_feed import Update

_LIFECYCLE: Final = ("start", "pause", "resume", "stop")
_QUIET: Final = frozenset({EventKind.LOG, EventKind.REPORT, EventKind.HEARTBEAT})


class ServiceOverview(Panel):
    """The agents of a service in a table; the upper part of a `ServicePanel`."""

    modules: ClassVar = ("dom", "direct", "line", "frame", "service_panel")

    agents: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    opened: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(self, target: object) -> None:
        super().__init__(target)
        self.actions |= {command: functools.partial(_command, command) for command in _LIFECYCLE}

    async def traits_after(self, client: AsyncClient, update: Update, *, changed: bool) -> dict[str, Any]:
        """Return what the service and its agents are now, if they can have changed."""
        if not (update.stale or changed or any(event.kind not in _QUIET for event in update.events)):
            return {}
        service, agents, proposed = await asyncio.gather(
            client.service(), client.agents(), client.suggestions(state="proposed")
        )
        waiting = [suggestion.agent for suggestion in proposed]
        return {
            "service": service.model_dump(mode="json", exclude={"uptime_s"}),
            "agents": [_row(agent, waiting.count(agent.name)) for agent in agents],
        }


class ServicePanel(ipywidgets.VBox):
    """A live panel of a service; *Open* shows an agent's own panel below.

    Parameters
    ----------
    target
        URL of the service, a client of it (with its key), or anything with a ``client``.

    Examples
    --------
    >>> from notebook_widgets import ServicePanel
    >>> ServicePanel("http://127.0.0.1:8000")  # doctest: +SKIP

    Notes
    -----
    Actions for `act`: ``start(name) pause(name) resume(name) stop(name)``, ``open(name)`` (again: close),
    ``stop-everything``, ``resume-queue``, ``destroy-environment``.
    """

    def __init__(self, target: object) -> None:
        self._target = target
        self._panels: dict[str, AgentPanel] = {}
        self.overview = ServiceOverview(target)
        self.overview.actions["open"] = self._open
        cast("Any", super()).__init__(children=(self.overview,))

    def act(self, action: str, **arguments: Any) -> Future[bool]:
        """Do what a button does; see `Panel.act`."""
        return self.overview.act(action, **arguments)

    def close(self) -> None:
        """Leave the service and take the panels off the screen."""
        for panel in [*self._panels.values(), self.overview]:
            panel.close()
        self._panels.clear()
        super().close()

    def __repr__(self) -> str:
        agents = ", ".join(f"{agent['name']} {agent['state']}" for agent in self.overview.agents)
        return f"<ServicePanel of {self.overview.url}: {agents or self.overview.link.get('state')}>"

    async def _open(self, client: AsyncClient, *, name: str) -> None:
        shown = self._panels.pop(name, None)
        if shown is None:
            self._panels[name] = AgentPanel(self._target, name)
        self.children = (self.overview, *self._panels.values())
        self.overview.opened = list(self._panels)
        if shown is not None:
            shown.close()


async def _command(command: str, client: AsyncClient, *, name: str) -> None:
    await getattr(client, command)(name)


def _row(status: AgentStatus, waiting: int) -> dict[str, Any]:
    return {
        **summary(status),
        "done": status.progress.done,
        "total": status.progress.total,
        "best": rounded(status.best.outcome) if status.best else None,
        "waiting": waiting,
    }
