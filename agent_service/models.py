"""The wire models: what goes over HTTP, into the journal and out of both clients.

Requests forbid unknown fields, so that a typing mistake is an answer and not a surprise; answers are read with unknown
fields ignored, so that an old client can talk to a newer service. Times are ISO 8601 in UTC, durations seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from agent_service.lifecycle import AgentState, SuggestionState

AgentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Name of an agent: it stands in URLs, file names and start documents."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Point = dict[str, float]
"""A point: actuator name to position, in the actuator's own units."""

ID_KEY = "_id"
"""Key under which a point on the wire carries the id of its suggestion."""

MAX_POINTS = 1000
"""Most points that one suggest or ingest request may carry."""


def utcnow() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


class Request(BaseModel):
    """Base of what a client sends: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(BaseModel):
    """Base of what the service answers: frozen, unknown fields ignored by the reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# --- requests


class Timeouts(Request):
    """Deadlines of an agent's calls, in seconds; a call past its deadline is abandoned and the agent `failed`."""

    suggest: Finite = Field(default=600, gt=0)
    ingest: Finite = Field(default=600, gt=0)
    report: Finite = Field(default=600, gt=0)
    evaluate: Finite = Field(default=600, gt=0)


class LoopSpec(Request):
    """How an agent's loop runs."""

    n_points: int = Field(default=1, ge=1, le=MAX_POINTS, description="points asked of the brain at a time")
    max_runs: int | None = Field(
        default=None, ge=1, description="successful runs after which the agent stops; null: no limit"
    )
    max_failures: int = Field(default=3, ge=1, description="failed suggestions in a row after which the agent stops")
    approval: Literal["auto", "required"] = Field("auto", description="required: a person approves each suggestion")
    report_every: int | None = Field(default=None, ge=1, description="ask the brain for a report after so many ingests")


class Guardrails(Request):
    """Limits outside the agent, which no agent can bypass."""

    bounds: dict[str, tuple[Finite, Finite]] = Field(
        default_factory=dict[str, tuple[float, float]],
        description="lowest and highest position allowed, by actuator, in the actuator's units",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Guardrails:
        for name, (low, high) in self.bounds.items():
            if low > high:
                msg = f"bounds of {name}: the lower limit is above the upper one"
                raise ValueError(msg)
        return self


class AgentSpec(Request):
    """All that is needed to host an agent."""

    name: AgentName
    type: str = Field(min_length=1, description="an installed type, or module:callable, called with **config")
    config: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    actuators: list[str] = Field(default_factory=list[str], max_length=64)
    sensors: list[str] = Field(default_factory=list[str], max_length=64)
    outcome: str | list[str] | None = Field(
        default=None, description="field or fields: their mean over the events of primary"
    )
    evaluate: str | None = Field(
        default=None, description="module:function of (run, suggestions) or (uid, suggestions)"
    )
    plan: str = Field("acquire", min_length=1, description="a plan of the startup namespace, or module:callable")
    executor: Literal["auto", "thread"] = "auto"
    listen: Literal["own", "all"] = Field("own", description="all: ingest every run, not only its own suggestions'")
    warm_start: list[str] = Field(default_factory=list[str], description="uids of runs to ingest before the start")
    timeouts: Timeouts = Timeouts()
    recover: Literal["resume", "paused"] = Field("resume", description="what an agent that was alive does at a restart")
    loop: LoopSpec = LoopSpec()
    guardrails: Guardrails = Guardrails()

    @property
    def outcomes(self) -> list[str]:
        """Names of the outcome fields, an empty list when a function evaluates."""
        if self.outcome is None:
            return []
        return [self.outcome] if isinstance(self.outcome, str) else list(self.outcome)

    @model_validator(mode="after")
    def _consistent(self) -> AgentSpec:
        if self.outcome is not None and self.evaluate is not None:
            msg = "give outcome or evaluate, not both"
            raise ValueError(msg)
        if self.outcome is None and self.evaluate is None:
            msg = "outcome or evaluate is needed: which field of a run is the outcome, or which function finds it"
            raise ValueError(msg)
        if len(set(self.actuators)) != len(self.actuators):
            msg = "an actuator is named twice"
            raise ValueError(msg)
        if foreign := sorted(set(self.guardrails.bounds) - set(self.actuators)):
            msg = f"guardrails.bounds names {', '.join(foreign)}, which is no actuator of this agent"
            raise ValueError(msg)
        return self


class AgentPatch(Request):
    """A change to an agent: config rebuilds it by replay, loop and guardrails count at once.

    ``loop`` and ``guardrails`` are merged into the present ones; ``config`` replaces the whole configuration.
    Name and type cannot change: naming them is a conflict, so they are accepted here and refused with 409.
    """

    config: dict[str, JsonValue] | None = None
    loop: dict[str, JsonValue] | None = None
    guardrails: dict[str, JsonValue] | None = None
    name: str | None = None
    type: str | None = None


class SuggestRequest(Request):
    """Ask the brain for points now; they stay ``proposed`` until somebody approves them."""

    n_points: int = Field(default=1, ge=1, le=MAX_POINTS)


class IngestRequest(Request):
    """Tell the brain outcomes: points by hand, or uids of runs in the catalogue; one of the two."""

    points: list[dict[str, str | Finite]] = Field(default_factory=list[dict[str, str | float]], max_length=MAX_POINTS)
    run_uids: list[str] = Field(default_factory=list[str], max_length=MAX_POINTS)

    @model_validator(mode="after")
    def _one_of(self) -> IngestRequest:
        if bool(self.points) == bool(self.run_uids):
            msg = "give points or run_uids, one of the two and not empty"
            raise ValueError(msg)
        return self


class ApproveRequest(Request):
    """Approve a suggestion, with an edited point if one is given."""

    point: dict[str, Finite] | None = None


class RejectRequest(Request):
    """Reject a suggestion."""

    reason: str = Field(default="", max_length=1000)


class VariableValue(Request):
    """A new value of a variable."""

    value: JsonValue


class DocumentBatch(Request):
    """Bluesky documents from somebody who speaks HTTP: ``[name, document]`` pairs in the order of their emission."""

    documents: list[tuple[str, dict[str, Any]]] = Field(min_length=1, max_length=10_000)


# --- answers


class Progress(Answer):
    """Successful runs so far, and the number asked for (null: no limit)."""

    done: int = 0
    total: int | None = None


class Counts(Answer):
    """How many of an agent's suggestions met which fate."""

    suggested: int = 0
    ingested: int = 0
    failed: int = 0
    pending: int = 0


class BestPoint(Answer):
    """One of the best points, as the brain sees them."""

    id: str | None = None
    point: Point
    outcome: dict[str, float]


class LastError(Answer):
    """The last fault of an agent."""

    code: str
    message: str
    traceback: str | None = None
    at: datetime


class Busy(Answer):
    """The call an agent is in."""

    call: str
    since: datetime


class AgentStatus(Answer):
    """What an agent is doing, as of its last finished call."""

    name: str
    state: AgentState
    reason: str | None = None
    type: str
    executor: str
    config: dict[str, JsonValue]
    created_at: datetime
    started_at: datetime | None = None
    progress: Progress = Progress()
    counts: Counts = Counts()
    best: BestPoint | None = None
    last_error: LastError | None = None
    busy: Busy | None = None
    legal: list[str] = Field(default_factory=list[str])
    spec: AgentSpec


class Suggestion(Answer):
    """A point with an id and a fate."""

    id: str
    agent: str
    state: SuggestionState
    point: Point
    plan: str | None = None
    run_uid: str | None = None
    outcome: dict[str, float] | None = None
    reason: str | None = None
    retry_of: str | None = None
    created_at: datetime
    updated_at: datetime


class EventKind(StrEnum):
    """Kinds of events. The transient ones have no seq and are not in the journal."""

    SERVICE_STATE = "service.state"
    AGENT_STATE = "agent.state"
    SUGGESTION_STATE = "suggestion.state"
    INGEST = "ingest"
    REPORT = "report"
    CONFIG = "config"
    QUEUE_STATE = "queue.state"
    PROGRESS = "progress"
    LOG = "log"
    HEARTBEAT = "heartbeat"
    RESET = "reset"


class Event(Answer):
    """A fact of the journal (with a seq), or something transient (seq null)."""

    seq: int | None
    time: datetime
    agent: str | None
    kind: EventKind
    data: dict[str, JsonValue]


class Variable(Answer):
    """What a brain shows of itself, as of its last finished call."""

    name: str
    value: JsonValue
    writable: bool
    at: datetime


class Report(Answer):
    """What a brain said of itself."""

    seq: int
    at: datetime
    report: dict[str, JsonValue]


class AgentTypeInfo(Answer):
    """An installed brain and the JSON Schema of its config."""

    name: str
    summary: str
    config_schema: dict[str, JsonValue]


class QueueState(StrEnum):
    """State of the plan sink. Abort latches ``held``: nothing moves until somebody resumes."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    HELD = "held"


class QueueStatus(Answer):
    """The plan sink: what runs, what waits."""

    kind: str
    state: QueueState
    reason: str | None = None
    pending: int = 0
    current: str | None = Field(default=None, description="id of the suggestion whose plan runs")


class ArchiveStatus(Answer):
    """The archive child: the catalogue it serves or writes to, and how far the outbox lags."""

    catalog: str = Field(description="embedded, a URI, or none")
    state: Literal["none", "starting", "ready", "unavailable"]
    uri: str | None = None
    runs_behind: int = Field(default=0, description="complete runs not yet in the catalogue")
    facts_behind: int = Field(default=0, description="journal facts not yet in the agents' runs")
    runs_refused: int = Field(default=0, description="runs the catalogue refused; kept in the state directory")
    reason: str | None = None


class ServiceStatus(Answer):
    """The service itself."""

    version: str
    session: str
    started_at: datetime
    uptime_s: float
    state_dir: str
    agents: dict[str, int] = Field(description="number of agents by state")
    queue: QueueStatus
    archive: ArchiveStatus
    scopes: list[str]


class ReadyPart(Answer):
    """Whether a part of the service is ready, and if not, why."""

    ready: bool
    reason: str | None = None


class Readiness(Answer):
    """Whether the service takes work, part by part."""

    ready: bool
    parts: dict[str, ReadyPart]


class SuggestAnswer(Answer):
    """The suggestions made, ``proposed``."""

    suggestions: list[Suggestion]


class IngestAnswer(Answer):
    """How many points the brain took in."""

    ingested: int


class DocumentsAnswer(Answer):
    """How many documents were taken in."""

    accepted: int


class AgentList(Answer):
    """A page of agents."""

    items: list[AgentStatus]
    next: str | None = None


class SuggestionList(Answer):
    """A page of suggestions."""

    items: list[Suggestion]
    next: str | None = None


class EventList(Answer):
    """A page of history."""

    items: list[Event]
    next: str | None = None


class ReportList(Answer):
    """A page of reports."""

    items: list[Report]
    next: str | None = None


class VariableList(Answer):
    """An agent's variables."""

    items: list[Variable]
    next: str | None = None


class BestList(Answer):
    """The best points: one for a single objective, the Pareto set for several."""

    items: list[BestPoint]
    next: str | None = None


class AgentTypeList(Answer):
    """The installed types."""

    items: list[AgentTypeInfo]
    next: str | None = None


class ProblemField(Answer):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Answer):
    """An RFC 9457 problem. It never echoes the input."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
    errors: list[ProblemField] = Field(default_factory=list[ProblemField])
    legal: list[str] = Field(default_factory=list[str])
    traceback: str | None = Field(default=None, description="the agent's own traceback, for an agent_fault")
