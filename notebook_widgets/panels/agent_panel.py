"""One agent, live: what it does, what it found, what it wants to measure next, and the buttons to steer it."""

from __future__ import annotations

import asyncio
import operator
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import traitlets

from agent_service.errors import InvalidInput, NotFound, ServiceError
from agent_service.models import ID_KEY, EventKind
from notebook_widgets.panels import forms, inbox
from notebook_widgets.panels.agent_view import AgentView, rounded, summary
from notebook_widgets.panels.panel import Panel
from notebook_widgets.panels.plots import plotted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.client import AsyncClient
    from agent_service.models import AgentStatus, BestPoint, Busy, Event, Report, ServiceStatus, Variable
    from notebook_widgets.panels.event_feed import Update

LOOKS_BACK: Final = 3000
"""How many of the last facts a panel reads for points that were ingested by hand or from others' runs."""

MAX_REPORTS: Final = 20
_LIFECYCLE: Final = ("start", "pause", "resume", "stop", "restart")
_OF_VARIABLES: Final = frozenset({EventKind.INGEST, EventKind.CONFIG, EventKind.AGENT_STATE})


class AgentPanel(Panel):
    """A live panel of one agent.

    Parameters
    ----------
    target
        URL of the service, a client of it (with its key), or anything with a ``client``.
    name
        The agent. One that is not there yet is shown as soon as it is.

    Examples
    --------
    >>> from agent_service import Client
    >>> from notebook_widgets import AgentPanel
    >>> panel = AgentPanel(Client("http://127.0.0.1:8000", api_key="..."), "aligner")  # doctest: +SKIP
    >>> panel.act("pause").result()  # doctest: +SKIP
    True
    >>> panel.close()  # doctest: +SKIP

    Notes
    -----
    Actions for `act`: ``start pause resume stop restart``, ``stop-everything resume-queue``, ``go-to-best(by)``,
    ``approve(id, point)``, ``reject(id)``, ``configure(values)``, ``set-variable(name, value)``, ``report``,
    ``suggest(n_points)``, ``ingest(point)``, ``destroy-environment``.
    """

    modules: ClassVar = ("dom", "direct", "line", "plots", "inbox", "frame", "agent_tabs", "agent_panel")

    agent: Any = traitlets.Dict().tag(sync=True)
    progress: Any = traitlets.Dict().tag(sync=True)
    best: Any = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    by_model: Any = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    plot: Any = traitlets.Dict().tag(sync=True)
    inbox: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    form: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    form_errors: Any = traitlets.Dict().tag(sync=True)
    variables: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    reports: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    lines: Any = traitlets.Dict().tag(sync=True)

    def __init__(self, target: object, name: str) -> None:
        self.name = name
        self._view = AgentView()
        self._status: AgentStatus | None = None
        self._service: ServiceStatus | None = None
        self._refused: dict[str, str] = {}
        self._variables: list[Variable] = []
        self._reports: list[Report] = []
        self._schemas: dict[str, Mapping[str, Any]] = {}
        super().__init__(target, agent={"name": name, "legal": []})
        self.actions |= {
            **{command: operator.methodcaller(command, name) for command in (*_LIFECYCLE, "report")},
            "go-to-best": self._go_to_best,
            "approve": inbox.remembering(self._refused, self.redraw),
            "reject": inbox.reject,
            "configure": self._configure,
            "set-variable": self._set_variable,
            "suggest": self._suggest,
            "ingest": self._ingest,
        }

    def __repr__(self) -> str:
        state = self.agent.get("state") or self.link.get("state")
        return f"<AgentPanel {self.name!r} of {self.url}: {state}>"

    # looking ------------------------------------------------------------------------------------------------------

    async def traits_after(self, client: AsyncClient, update: Update, *, changed: bool) -> dict[str, Any]:
        """Return what the agent is now, asked for as far as it can have changed."""
        events = [event for event in update.events if event.agent in (None, self.name)]
        try:
            if update.stale or (self._status is None and any(event.agent for event in events)):
                await self._look(client)
            elif self._status is not None and (changed or events):
                await self._follow(client, events)
        except NotFound as error:
            self._status = None
            return {"agent": {"name": self.name, "state": "missing", "reason": error.detail, "legal": []}}
        return {} if self._status is None else self._drawn(self._status)

    async def _look(self, client: AsyncClient) -> None:
        """Look at everything anew."""
        self._status = await client.agent(self.name)
        self._service, self._variables, self._reports, suggestions, history, types = await asyncio.gather(
            client.service(),
            client.variables(self.name),
            client.reports(self.name),
            client.suggestions(self.name),
            client.history(self.name, limit=LOOKS_BACK, newest_first=True),
            client.agent_types(),
        )
        self._schemas = {agent_type.name: agent_type.config_schema for agent_type in types}
        self._view.look(suggestions, reversed(history))

    async def _follow(self, client: AsyncClient, events: list[Event]) -> None:
        """Take events in, and ask only for what they changed."""
        for event in events:
            if event.agent is not None:
                self._view.take(event)
        kinds = {event.kind for event in events}
        self._status = await client.agent(self.name)
        if kinds & _OF_VARIABLES:
            self._variables = await client.variables(self.name)
        if EventKind.REPORT in kinds:
            self._reports = await client.reports(self.name)
        if any(event.agent is None for event in events):
            self._service = await client.service()

    def _drawn(self, status: AgentStatus) -> dict[str, Any]:
        service, view = self._service, self._view
        shown = {"queue", "archive", "faults", "scopes", "state_dir"}
        reports = reversed(self._reports[-MAX_REPORTS:])
        return {
            "agent": _header(status, service),
            "service": service.model_dump(mode="json", include=shown) if service else {},
            "progress": view.progress(status),
            "best": _best(status.best),
            "by_model": _best(status.best_by_model) if status.best_by_model != status.best else None,
            "plot": plotted(status, list(view.measured.values()), view.open.values()),
            "inbox": view.inbox(status.limits, self._refused),
            "form": forms.agent_form(status, self._schemas.get(status.type)),
            "variables": [
                {"name": variable.name, "value": variable.problem or variable.value, "writable": variable.writable}
                for variable in self._variables
            ],
            "reports": [{"at": report.at.timestamp(), "report": report.report} for report in reports],
            "lines": view.lines(),
        }

    # acting -------------------------------------------------------------------------------------------------------

    async def _go_to_best(self, client: AsyncClient, *, by: Literal["measured", "model"] = "measured") -> str:
        shown = self._status and (self._status.best if by == "measured" else self._status.best_by_model)
        best = await client.go_to_best(self.name, by=by, point=shown.point if shown else None)
        where = ", ".join(f"{name} {value:g}" for name, value in rounded(best.point).items())
        return f"moved to {where}"

    async def _configure(self, client: AsyncClient, *, values: Mapping[str, Any]) -> str:
        status = await client.agent(self.name)
        groups = forms.agent_form(status, self._schemas.get(status.type))
        present = {
            "config": status.spec.config,
            "loop": status.spec.loop.model_dump(mode="json"),
            "guardrails": status.spec.guardrails.model_dump(mode="json"),
        }
        self.form_errors = {}
        changes: dict[str, Any] = {
            group["name"]: new
            for group in groups
            if (new := forms.assemble(group, values, present[group["name"]])) != present[group["name"]]
        }
        if not changes:
            return "nothing to change"
        await client.update(self.name, **changes)
        rebuilt = "; the brain was rebuilt with it" if "config" in changes and status.started_at else ""
        return f"{' and '.join(changes)} changed{rebuilt}"

    async def _set_variable(self, client: AsyncClient, *, name: str, value: Any) -> str:
        new = await client.set_variable(self.name, name, value)
        return f"{name} is {new.value} now"

    async def _suggest(self, client: AsyncClient, *, n_points: float = 1) -> str:
        made = len(await client.suggest(self.name, int(n_points)))
        return f"{made} suggested; they wait in the inbox" if made else "the agent had nothing to suggest"

    async def _ingest(self, client: AsyncClient, *, point: Mapping[str, Any]) -> str:
        empty = [name for name, value in point.items() if value in (None, "")]
        if empty:
            raise InvalidInput(f"{', '.join(empty)} must be filled in")
        numbers = {name: value if name == ID_KEY else float(value) for name, value in point.items()}
        await client.ingest(self.name, [numbers])
        return "ingested"

    def refused(self, action: str, error: ServiceError) -> None:
        """Show why an action was not done; what is wrong with a field of the form is shown beside it."""
        if action == "configure" and error.errors:
            messages = forms.messages(error.errors, self.form)
            self.form_errors = {path: message for path, message in messages.items() if path}
            if "" not in messages:
                error = InvalidInput("the configuration was not changed: see the fields marked below")
        super().refused(action, error)


def _header(status: AgentStatus, service: ServiceStatus | None) -> dict[str, Any]:
    error = status.last_error
    needs_approval = "required" in (status.spec.loop.approval, service.guardrails.approval if service else "")
    return {
        **summary(status),
        "busy": _busy(status.busy) if status.busy else None,
        "actuators": status.spec.actuators,
        "outcomes": status.spec.outcomes,
        "objective": status.objective,
        "approval": "required" if needs_approval else "auto",
        "no_limits": status.no_limits,
        "error": None
        if error is None
        else {"message": error.message, "traceback": error.traceback, "at": error.at.timestamp()},
    }


def _best(best: BestPoint | None) -> dict[str, Any] | None:
    return {"point": rounded(best.point), "outcome": rounded(best.outcome)} if best else None


def _busy(busy: Busy) -> dict[str, Any]:
    """Return the call an agent is in, and how far it says that it is."""
    progress, text = busy.progress, ""
    if progress is not None:
        share = f"{progress.done:g} of {progress.total:g}" if progress.total else f"{progress.done:g}"
        text = f"{share}, {progress.message}" if progress.message else share
    return {"call": busy.call, "since": busy.since.timestamp(), "progress": text}
