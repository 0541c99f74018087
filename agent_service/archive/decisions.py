"""Folds the journal's facts into rows of the agents' runs, without I/O.

Each agent has one run per service session, with the streams ``suggest``, ``ingest`` and ``report``. The facts alone
determine the run, including its uid, so writing them again after a crash gives the same run.
"""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from agent_service.archive.columns import columns_for
from agent_service.archive.metadata import storable_text
from agent_service.models import ID_KEY, EventKind
from agent_service.models.objectives import NO_GOALS
from agent_service.models.standard_errors import parted, sems_of, with_sems
from agent_service.models.values import is_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from agent_service.models import Event

SEQ: Final = "journal_seq"
"""Column that holds the number of the fact a row comes from."""

_NAMESPACE: Final = uuid.UUID("7c4f0e0a-4b0e-4bb4-9d2c-3a7f6b1f4a58")
OWN_COLUMNS: Final = frozenset({"suggestion_uid", "state", "reason", "run_uid", "extra", "report", SEQ})
"""Columns of the streams that hold no actuator and no outcome."""

ColumnType = Literal["number", "string", "integer"]
Cell = str | float | int | None
"""What stands in a row; what is not there is NaN, an empty text, or None in a column of whole numbers."""

_SEM: Final = "_sem"
"""Ending of the column of an outcome's standard error."""

_EXACT: Final = 1 << 53
"""Readers of a column of whole numbers with gaps take it for one of floats, which are exact up to this."""

StreamName = Literal["suggest", "ingest", "report"]


class AgentRun(BaseModel):
    """An agent's run of one session, as far as its start document and its tables go."""

    model_config = ConfigDict(frozen=True)

    uid: str
    time: float
    session: str
    agent: str
    type: str
    actuators: list[str]
    outcomes: list[str]
    space: dict[str, Any] = Field(default_factory=dict[str, Any])
    goals: dict[str, Any] = Field(default_factory=dict[str, Any])
    sems: list[str] = Field(default_factory=list[str])  # outcomes whose standard error has a column of its own

    def start_document(self) -> dict[str, Any]:
        """Return the start document."""
        return {
            "uid": self.uid,
            "time": self.time,
            "plan_name": "agent",
            "agent_name": self.agent,
            "agent_type": self.type,
            "session": self.session,
            "actuators": self.actuators,
            "outcome": self.outcomes,
            **({"space": self.space} if self.space else {}),
            **self.goals,
        }

    def columns(self, stream: StreamName) -> dict[str, tuple[ColumnType, str]]:
        """Return the columns of a stream, in order: name to type and to what it holds."""
        point = self.point_columns(stream)
        numbers: dict[str, tuple[ColumnType, str]] = {
            column: (_type_of(self.space.get(name)), name) for name, column in point.items()
        }
        texts: Mapping[StreamName, tuple[str, ...]] = {
            "suggest": ("suggestion_uid", "state", "reason", "run_uid", "extra"),
            "ingest": ("suggestion_uid", "run_uid", "extra"),
            "report": ("report",),
        }
        strings: dict[str, tuple[ColumnType, str]] = {name: ("string", name) for name in texts[stream]}
        return {**strings, **({} if stream == "report" else numbers), SEQ: ("integer", SEQ)}

    def point_columns(self, stream: StreamName) -> dict[str, str]:
        """Return the column of each actuator and outcome in a stream."""
        outcomes = [*self.outcomes, *(f"{name}{_SEM}" for name in self.sems)] if stream == "ingest" else []
        return columns_for([*self.actuators, *outcomes], taken=OWN_COLUMNS)

    def with_sems_of(self, point: Mapping[str, Any]) -> AgentRun:
        """Return the run with columns for the standard errors that its first measured point has."""
        taken = {*self.actuators, *self.outcomes}
        sems = [name for name in self.outcomes if name in sems_of(point) and f"{name}{_SEM}" not in taken]
        return self.model_copy(update={"sems": sems}) if sems else self


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a stream; ``values`` has every column but the times.

    ``number`` counts the rows of the stream from 1, those among them that the catalogue refused; None for a run that
    version 0.1.0 began, whose rows are counted in the catalogue.
    """

    run: AgentRun
    stream: StreamName
    time: float
    values: dict[str, Cell]
    number: int | None = None


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of an agent's run; ``num_events`` counts its rows, None as `Row.number` is."""

    run: AgentRun
    time: float
    exit_status: Literal["success", "abort"]
    reason: str
    num_events: dict[StreamName, int] | None = None


class _Hosted(BaseModel):
    """What the journal says of an agent."""

    created_seq: int
    type: str
    actuators: list[str]
    outcomes: list[str] | None
    space: dict[str, Any] = Field(default_factory=dict[str, Any])
    goals: dict[str, Any] = Field(default_factory=dict[str, Any])
    removed: bool = False


class Fold(BaseModel):
    """State of the fold after the fact ``seq``; kept in a file, as the catalogue writer's cursor into the journal."""

    seq: int = 0
    session: str = ""
    agents: dict[str, _Hosted] = Field(default_factory=dict[str, _Hosted])
    open_runs: dict[str, AgentRun] = Field(default_factory=dict[str, AgentRun])
    counts: dict[str, dict[StreamName, int]] = Field(default_factory=dict[str, "dict[StreamName, int]"])

    def apply_fact(self, fact: Event) -> list[Row | RunEnd]:
        """Apply the next fact, and return what is to be written for it, in order."""
        self.seq = fact.seq or self.seq
        if fact.kind is EventKind.CONFIG and fact.data.keys() & {"space", "goals"}:
            offered: dict[str, Any] = fact.data
            self._learn_offered(str(fact.agent), offered.get("space") or {}, offered.get("goals") or {})
        match fact.kind:
            case EventKind.SERVICE_STATE:
                return self._service(fact)
            case EventKind.AGENT_STATE:
                return self._agent(fact)
            case EventKind.SUGGESTION_STATE:
                return [self._row(run, "suggest", fact, _suggestion(run, fact.data)) for run in self._run(fact)]
            case EventKind.INGEST:
                self._learn_outcomes(fact)
                self._learn_sems(fact)
                return [
                    self._row(run, "ingest", fact, values)
                    for run in self._run(fact)
                    for values in _ingested(run, fact.data)
                ]
            case EventKind.REPORT:
                text = json.dumps(fact.data.get("report"))
                return [self._row(run, "report", fact, {"report": text}) for run in self._run(fact)]
            case _:
                return []

    def _service(self, fact: Event) -> list[Row | RunEnd]:
        match fact.data.get("state"):
            case "started":
                ends = self._end_all(fact.time, "abort", "the service was interrupted")
                self.session = str(fact.data.get("session", ""))
                self.agents = {name: agent for name, agent in self.agents.items() if not agent.removed}
                return ends
            case "stopped":
                return self._end_all(fact.time, "success", "")
            case _:
                return []

    def _agent(self, fact: Event) -> list[Row | RunEnd]:
        name = str(fact.agent)
        if fact.data.get("removed") and name in self.agents:
            self.agents[name] = self.agents[name].model_copy(update={"removed": True})
        spec = fact.data.get("spec")
        if not isinstance(spec, dict):
            return []
        outcome = spec.get("outcome")
        outcomes = [outcome] if isinstance(outcome, str) else outcome
        self.agents[name] = _Hosted(
            created_seq=self.seq,
            type=str(spec.get("type", "")),
            actuators=cast("list[str]", spec.get("actuators") or []),
            outcomes=cast("list[str] | None", outcomes or None),
            space=cast("dict[str, Any]", spec.get("space") or {}),
            goals={field: spec[field] for field in NO_GOALS if spec.get(field)},
        )
        old = self.open_runs.pop(name, None)  # a namesake, removed before
        return [] if old is None else [self._end(old, fact.time, "success", "the agent was removed")]

    def _end_all(self, time: datetime, status: Literal["success", "abort"], reason: str) -> list[Row | RunEnd]:
        ends: list[Row | RunEnd] = [self._end(run, time, status, reason) for run in self.open_runs.values()]
        self.open_runs = {}
        return ends

    def _end(self, run: AgentRun, time: datetime, status: Literal["success", "abort"], reason: str) -> RunEnd:
        return RunEnd(run, time.timestamp(), status, reason, self.counts.pop(run.uid, None))

    def _run(self, fact: Event) -> list[AgentRun]:
        """Return the run of the fact's agent, begun now if need be; empty for an agent that was never created."""
        name = str(fact.agent)
        hosted = self.agents.get(name)
        if hosted is None:
            return []
        if name not in self.open_runs:
            self.open_runs[name] = AgentRun(
                uid=str(uuid.uuid5(_NAMESPACE, f"{self.session}/{name}/{hosted.created_seq}")),
                time=fact.time.timestamp(),
                session=self.session,
                agent=name,
                type=hosted.type,
                actuators=hosted.actuators,
                outcomes=hosted.outcomes or [],
                space=hosted.space,
                goals=hosted.goals,
            )
            self.counts[self.open_runs[name].uid] = {}
        return [self.open_runs[name]]

    def _learn_offered(self, name: str, space: dict[str, Any], goals: dict[str, Any]) -> None:
        """Take what a brain offers; a run that has rows already keeps its columns and its start document."""
        hosted, run = self.agents.get(name), self.open_runs.get(name)
        if hosted is None:
            return
        known = {"space": {**hosted.space, **space}, "goals": {**hosted.goals, **goals}}
        self.agents[name] = hosted.model_copy(update=known)
        if run is not None and not any(self.counts.get(run.uid, {"suggest": 1}).values()):
            self.open_runs[name] = run.model_copy(update=known)

    def _learn_outcomes(self, fact: Event) -> None:
        """Take the outcomes' names from the first ingest, where a function evaluates and the spec names none."""
        name = str(fact.agent)
        hosted = self.agents.get(name)
        if hosted is None or hosted.outcomes is not None:
            return
        points = _points(fact.data)
        first = points[0] if points else {}
        numbers = [key for key, value in first.items() if key != ID_KEY and is_number(value)]
        outcomes = [key for key in numbers if key not in hosted.actuators]
        self.agents[name] = hosted.model_copy(update={"outcomes": outcomes})
        if name in self.open_runs:  # its ingest stream does not exist yet: this is the first
            self.open_runs[name] = self.open_runs[name].model_copy(update={"outcomes": outcomes})

    def _learn_sems(self, fact: Event) -> None:
        """Let the run of an agent have columns for standard errors, where the first point that it is told has any."""
        for run in self._run(fact):
            if points := _points(fact.data) if not self.counts.get(run.uid, {"ingest": 1}).get("ingest") else []:
                self.open_runs[run.agent] = run.with_sems_of(points[0])

    def _row(self, run: AgentRun, stream: StreamName, fact: Event, values: dict[str, Cell]) -> Row:
        counts = self.counts.get(run.uid)
        if counts is not None:
            counts[stream] = counts.get(stream, 0) + 1
        number = None if counts is None else counts[stream]
        return Row(run, stream, fact.time.timestamp(), {**values, SEQ: fact.seq or 0}, number)


def load_fold(cursor: Path, *, snapshot: tuple[int, dict[str, Any]] | None = None) -> Fold:
    """Return the fold as it was last left, or a new one: rows that are in the catalogue already are recognised.

    A snapshot of the journal holds the fold of the facts that cannot be read any more; an older one begins with that.
    """
    try:
        fold = Fold.model_validate_json(cursor.read_bytes())
    except (FileNotFoundError, ValueError):
        fold = Fold()
    if snapshot is not None and fold.seq < snapshot[1]["outbox"]["seq"]:
        return Fold.model_validate(snapshot[1]["outbox"])
    return fold


def _suggestion(run: AgentRun, data: Mapping[str, Any]) -> dict[str, Cell]:
    point: dict[str, Any] = {**(data.get("extra") or {}), **(data.get("point") or {})}
    columns = run.point_columns("suggest")
    return {
        "suggestion_uid": _text(data.get("id")),
        "state": _text(data.get("state")),
        "reason": _text(data.get("reason")),
        "run_uid": _text(data.get("run_uid")),
        **_values(run, point, columns),
    }


def _ingested(run: AgentRun, data: Mapping[str, Any]) -> Iterator[dict[str, Cell]]:
    columns = run.point_columns("ingest")
    points = _points(data)
    uids: Sequence[object] = data.get("run_uids") or []
    for i, point in enumerate(points):
        values, sems = parted(point)
        values |= {f"{name}{_SEM}": sems.pop(name) for name in run.sems if name in sems}
        yield {
            "suggestion_uid": _text(point.get(ID_KEY)),
            "run_uid": _text(uids[i]) if len(uids) == len(points) else _text(uids[0]) if len(uids) == 1 else "",
            **_values(run, with_sems(values, sems), columns),
        }


def _values(run: AgentRun, point: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Cell]:
    """Return the values of a point's columns, and ``extra``: as JSON, what of it they do not hold as it is."""
    values: dict[str, Cell] = {}
    extra = {key: value for key, value in point.items() if key != ID_KEY and key not in columns}
    for name, column in columns.items():
        kind, value = _type_of(run.space.get(name)), point.get(name)
        if kind == "string":
            values[column] = storable_text(value) if isinstance(value, str) else ""
            held = values[column] == value != ""  # an empty text stands for none, too
        elif kind == "integer":
            values[column] = int(value) if isinstance(value, int) else None  # true and false are 1 and 0
            held = isinstance(value, int) and abs(value) <= _EXACT
        else:
            values[column], held = _number(value), _is_held(value)
        if value is not None and not held:
            extra[name] = value
    return {"extra": json.dumps(extra) if extra else "", **values}


def _type_of(dimension: Mapping[str, Any] | None) -> ColumnType:
    """Return the type of the column of an actuator, or of an outcome; a choice among several types is in ``extra``."""
    kinds = {type(value) for value in cast("list[object]", (dimension or {}).get("values") or [])}
    match (dimension or {}).get("type"), kinds:
        case ("text", _):
            return "string"
        case ("int" | "bool", _):
            return "integer"
        case ("choice", _) if kinds == {str}:
            return "string"
        case ("choice", _) if kinds in ({int}, {bool}):
            return "integer"
        case _:
            return "number"


def _points(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    points: list[Any] = data.get("points") or []
    return [cast("dict[str, Any]", point) for point in points if isinstance(point, dict)]


def _text(value: object) -> str:
    return "" if value is None else storable_text(str(value))


def _is_held(value: object) -> bool:
    """Tell whether a column of numbers holds a value unchanged."""
    if not is_number(value):
        return False
    number = _number(value)
    return number == value or (math.isnan(number) and math.isnan(value))


def _number(value: object) -> float:
    try:
        return float(value) if is_number(value) else math.nan
    except OverflowError:
        return math.nan
