"""The calls of an agent, except its brain's, as methods, written once for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from agent_service.client._calls import API, Call, agent_path, listed, long, one, route
from agent_service.errors import UsageError
from agent_service.models import POINT_COLUMNS, AgentSpec, AgentStatus, BestPoint, Event, Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pandas import DataFrame

    from agent_service.models import Value
    from agent_service.models.state_machines import AgentState


def _nothing(_: object) -> None:
    return None


def _fields(spec: AgentSpec | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    given = spec.model_dump(mode="json", exclude_unset=True) if isinstance(spec, AgentSpec) else spec
    return {**(given or {}), **fields}


class AgentRoutes:
    """An agent from its creation to its removal, and its records."""

    @route
    def agents(self, *, state: AgentState | str | None = None, limit: int | None = None) -> Call[list[AgentStatus]]:
        """Return the agents, of one state if given; ``limit=None`` means all."""
        return listed(f"{API}/agents", AgentStatus, state=state, limit=limit)

    @route
    def create(self, spec: AgentSpec | Mapping[str, Any] | None = None, /, **fields: Any) -> Call[AgentStatus]:
        """Host a new agent, and return its status (``created``).

        Parameters
        ----------
        spec
            The agent's specification.
        **fields
            Fields of `AgentSpec`, instead of ``spec`` or in addition to it.

        Raises
        ------
        AlreadyExists
            When there is an agent of that name.
        InvalidInput
            When a field is wrong; ``errors`` says which field and why.
        AgentFault
            When the agent's constructor raised. If its type could be loaded, the agent exists, ``failed``.
        """
        return one("POST", f"{API}/agents", AgentStatus, _fields(spec, fields))

    @route
    def check(self, spec: AgentSpec | Mapping[str, Any] | None = None, /, **fields: Any) -> Call[None]:
        """Return if `create` would make such an agent, also if its name is taken; make nothing.

        Raises
        ------
        InvalidInput
            As `create`.
        """
        return Call("POST", f"{API}/agents", _nothing, params={"dry_run": "true"}, body=_fields(spec, fields))

    @route
    def agent(self, name: str) -> Call[AgentStatus]:
        """Return an agent's status, as of its last finished call."""
        return one("GET", agent_path(name), AgentStatus)

    @route
    def update(
        self,
        name: str,
        *,
        config: Mapping[str, Any] | None = None,
        loop: Mapping[str, Any] | None = None,
        guardrails: Mapping[str, Any] | None = None,
        wait_s: float | None = None,
    ) -> Call[AgentStatus]:
        """Change an agent: a new ``config`` rebuilds its brain by replay; ``loop`` and ``guardrails`` count at once.

        Fields of ``loop`` and ``guardrails`` that are not named stay, and so do actuators in ``bounds`` and
        ``max_step``. None removes an actuator's limit. If the guardrails then allow more, a warning says so.
        """
        changes = {"config": config, "loop": loop, "guardrails": guardrails}
        body = {key: value for key, value in changes.items() if value is not None}
        return long(one("PATCH", agent_path(name), AgentStatus, body), wait_s)

    @route
    def delete(self, name: str) -> Call[None]:
        """Remove an agent that is at rest; its runs stay in the catalogue, its facts in the journal."""
        return Call("DELETE", agent_path(name), _nothing)

    @route
    def start(self, name: str, *, paused: bool = False, wait_s: float | None = None) -> Call[AgentStatus]:
        """Start an agent's loop; return its status when it runs. If ``paused``, it suggests nothing until `resume`."""
        params = {"paused": "true" if paused else None}
        return long(Call("POST", agent_path(name, "start"), AgentStatus.model_validate, params=params), wait_s)

    @route
    def pause(self, name: str) -> Call[AgentStatus]:
        """Pause an agent: the run under way ends, and nothing more is submitted."""
        return one("POST", agent_path(name, "pause"), AgentStatus)

    @route
    def resume(self, name: str) -> Call[AgentStatus]:
        """Resume a paused agent."""
        return one("POST", agent_path(name, "resume"), AgentStatus)

    @route
    def stop(self, name: str, *, wait_s: float | None = None) -> Call[AgentStatus]:
        """Stop an agent; return its status when it has stopped. A run under way ends first."""
        return long(one("POST", agent_path(name, "stop"), AgentStatus), wait_s)

    @route
    def restart(self, name: str, *, wait_s: float | None = None) -> Call[AgentStatus]:
        """Rebuild an agent's brain from the journal, and start it."""
        return long(one("POST", agent_path(name, "restart"), AgentStatus), wait_s)

    # --- what is known of it

    @route
    def go_to_best(
        self,
        name: str,
        *,
        by: Literal["measured", "model"] = "measured",
        point: Mapping[str, Value] | None = None,
        despite_conditions: bool = False,
    ) -> Call[BestPoint]:
        """Move the actuators to the best point, without a run; return the point when they are there.

        Parameters
        ----------
        name
            The agent.
        by
            ``measured``: the best that was measured; ``model``: the best of the agent's brain.
        point
            The best point that you saw: if the best is another by now, nothing moves and `Conflict` is raised.
        despite_conditions
            Whether to move while a condition of the service, as the beam, is not met; otherwise `Conflict` is raised.
        """
        body = {"by": by, "point": point} | ({"despite_conditions": True} if despite_conditions else {})
        return one("POST", agent_path(name, "go-to-best"), BestPoint, body)

    @route
    def history(self, name: str, *, limit: int | None = None, newest_first: bool = False) -> Call[list[Event]]:
        """Return an agent's history; ``limit=None`` means all of it."""
        return listed(agent_path(name, "history"), Event, limit=limit, newest_first="true" if newest_first else None)

    @route
    def points(self, name: str) -> Call[DataFrame]:
        """Return an agent's points, measured and proposed, as a pandas DataFrame, one row each.

        Its columns are those of CSV and Arrow: ``run_uid``, ``time``, ``suggestion``, ``fate``, ``by``,
        ``approved_by``, ``reason``, then each actuator and outcome by name. A missing value is None or NaN, and NA
        among whole numbers, which stay exact.

        Raises
        ------
        UsageError
            When pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - only who asks for a DataFrame needs it
        except ImportError:
            raise UsageError("a DataFrame needs pandas: pip install pandas") from None
        frames: Any = pd

        def read(items: list[Any]) -> DataFrame:
            names = list(items[0]) if items else [column.name for column in POINT_COLUMNS]
            frame = frames.DataFrame.from_records(items, columns=names)
            for column in names:
                values = [item[column] for item in items]
                if None in values and {type(value) for value in values} == {int, type(None)}:
                    frame[column] = frames.array(values, dtype="Int64")  # as floats, large ones would be others
            frame["time"] = frames.to_datetime(frame["time"], utc=True, format="ISO8601")
            return frame

        return Call("GET", agent_path(name, "points"), read, paged=True)

    @route
    def reports(self, name: str, *, limit: int | None = None) -> Call[list[Report]]:
        """Return an agent's reports."""
        return listed(agent_path(name, "reports"), Report, limit=limit)
