"""Agents: what they are made from, and how they show themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, field_validator, model_validator

from agent_service.models._base import (
    MAX_NAMES,
    MAX_POINTS,
    AgentName,
    Answer,
    Ends,
    FewNames,
    Finite,
    Name,
    Point,
    Request,
    open_ends,
    refuse_truth,
)
from agent_service.models.guardrail_rules import MAX_LENGTH, MAX_RULES, parse
from agent_service.models.states import AgentState


class Timeouts(Request):
    """Deadlines of an agent's calls, in seconds; a call past its deadline is abandoned and the agent `failed`."""

    start: Finite = Field(default=600, gt=0, description="building the brain, and telling it what it knew")
    suggest: Finite = Field(default=600, gt=0)
    ingest: Finite = Field(default=600, gt=0)
    report: Finite = Field(default=600, gt=0)
    evaluate: Finite = Field(default=600, gt=0)
    method: Finite = Field(default=600, gt=0)


class RestartSpec(Request):
    """How an agent comes back after a fault, with ``on_fault = "restart"``."""

    limit: int = Field(default=5, ge=1, description="restarts in a row after which the agent is failed")
    pause: Finite = Field(
        default=1, gt=0, le=60, description="seconds before the first; twice as long before each one after it, up to 60"
    )


class LoopSpec(Request):
    """How an agent's loop runs."""

    n_points: int = Field(default=1, ge=1, le=MAX_POINTS, description="points asked of the brain at a time")
    max_runs: int | None = Field(
        default=None, ge=1, description="successful runs after which the agent stops; null: no limit"
    )
    max_failures: int = Field(default=3, ge=1, description="failed suggestions in a row after which the agent stops")
    approval: Literal["auto", "required"] = Field(
        default="auto", description="required: a person approves each suggestion"
    )
    report_every: int | None = Field(default=None, ge=1, description="ask the brain for a report after so many ingests")


class Guardrails(Request):
    """Limits outside the agent, which no agent can bypass."""

    bounds: FewNames[dict[str, Ends]] = Field(
        default_factory=dict[str, Ends],
        description="lowest and highest position allowed, by actuator, in the actuator's units; null (in TOML: -inf or "
        "inf): no limit at that end. Limits that the device states hold beside them, without being asked",
    )
    rules: list[
        Annotated[str, Field(min_length=1, max_length=MAX_LENGTH), AfterValidator(lambda text: parse(text).text)]
    ] = Field(
        default_factory=list[str],
        max_length=MAX_RULES,
        description="what must hold across actuators, for example abs(v1 - v2) <= 300: numbers, names of actuators, "
        "arithmetic, comparisons, and, or, not, abs, min, max, sqrt, hypot and others",
    )
    unbounded: list[Name] = Field(
        default_factory=list[str],
        max_length=MAX_NAMES,
        description="actuators that need no limits: nobody is reminded that they have none; it takes no limit away",
    )
    max_step: FewNames[dict[str, Annotated[Finite, Field(gt=0)]]] = Field(
        default_factory=dict[str, float],
        description="largest move from where the actuator is, or was sent or measured last, by actuator, in its units",
    )
    max_runs_per_minute: Finite | None = Field(
        default=None, gt=0, le=1000, description="the next plan waits until this allows it"
    )
    budget_runs: int | None = Field(default=None, ge=0, description="plans it may begin, failed ones included")
    budget_time_s: Finite | None = Field(
        default=None, ge=0, description="time its runs may take, all in all, in seconds"
    )
    plans: list[Name] | None = Field(default=None, max_length=MAX_NAMES, description="plans it may use; null: any")

    @model_validator(mode="before")
    @classmethod
    def _ends(cls, data: Any) -> Any:
        refuse_truth(data)  # nothing in here is either
        return open_ends(data)

    @model_validator(mode="after")
    def _ordered(self) -> Guardrails:
        for name, (low, high) in self.bounds.items():
            if low is None and high is None:
                msg = f"bounds of {name} have no end; give one, or leave {name} out, or name it in unbounded"
                raise ValueError(msg)
            if low is not None and high is not None and low > high:
                msg = f"bounds of {name}: the lower limit is above the upper one"
                raise ValueError(msg)
        return self


RunRule = Literal["first", "last"] | dict[str, JsonValue]
"""Which of a plan's runs counts: by order, or by what its start document says."""


class ServiceGuardrails(Guardrails):
    """Limits that hold for each agent of a service."""

    approval: Literal["auto", "required"] = Field(
        default="auto", description="required: a person approves each suggestion, whatever an agent's own loop says"
    )


class AgentSpec(Request):
    """All that is needed to host an agent."""

    name: AgentName
    type: str = Field(
        min_length=1, max_length=500, description="an installed type, or module:callable, called with **config"
    )
    config: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    actuators: list[Name] = Field(default_factory=list[str], max_length=64)
    sensors: list[Name] = Field(default_factory=list[str], max_length=64)
    outcome: Name | Annotated[list[Name], Field(max_length=MAX_NAMES)] | None = Field(
        default=None, description="field or fields: their mean over the events of primary"
    )
    evaluate: str | None = Field(
        default=None,
        max_length=500,
        description="module:function of (run, suggestions), or of (uid, suggestions), (runs, suggestions), (uids, "
        "suggestions): the name of the first parameter says what it gets",
    )
    run: RunRule | None = Field(
        default=None,
        description="which run counts when the plan makes several for a suggestion: first, last, or metadata of its "
        "start document; null: it makes one, or evaluate takes all of them",
        examples=["last", {"purpose": "light"}],
    )
    direction: Literal["maximize", "minimize"] | None = Field(
        default=None,
        description="whether more or less of the outcome is better; null: as config says by maximize or minimize, else "
        "as the brain's own best point tells",
    )
    plan: str = Field(
        default="acquire",
        min_length=1,
        max_length=500,
        description="a plan of the startup namespace, or module:callable",
    )
    executor: Literal["auto", "thread", "process"] = Field(
        default="auto",
        description="where its code runs; auto: a process of its own when the service is headless and it can travel "
        "there, else a thread of the service",
    )
    memory_limit_mb: int | None = Field(
        default=None,
        ge=128,
        le=1 << 24,
        description="most memory for its data, libraries included, in MB; only a process can be limited",
    )
    listen: Literal["own", "all"] = Field(
        default="own", description="all: ingest every run, not only its own suggestions'"
    )
    warm_start: list[Name] = Field(
        default_factory=list[str], max_length=10_000, description="uids of runs to ingest before the start"
    )
    timeouts: Timeouts = Timeouts()
    on_fault: Literal["fail", "restart"] = Field(
        default="fail", description="restart: after a fault its brain is built again by itself, with what it knew"
    )
    restarts: RestartSpec = RestartSpec()
    recover: Literal["resume", "paused"] | None = Field(
        default=None,
        description="what an agent that was alive does at a restart of the service; null: what [service] recover says",
    )
    loop: LoopSpec = LoopSpec()
    guardrails: Guardrails = Guardrails()
    names: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="what the brain calls an actuator or an outcome, by its own name; the service finds this out for "
        "actuators written as the way to a device, stage.x for stage_x",
    )

    @property
    def outcomes(self) -> list[str]:
        """Names of the outcome fields, an empty list when a function evaluates."""
        if self.outcome is None:
            return []
        return [self.outcome] if isinstance(self.outcome, str) else list(self.outcome)

    @model_validator(mode="before")
    @classmethod
    def _ends(cls, data: Any) -> Any:
        return _with_open_ends(data)

    @field_validator("run", mode="before")
    @classmethod
    def _known_rule(cls, rule: object) -> object:
        if rule is None or rule in ("first", "last") or (isinstance(rule, dict) and rule):
            return cast("object", rule)
        msg = 'run is "first", "last", or metadata of the run that counts, as {"purpose": "light"}'
        raise ValueError(msg)

    @model_validator(mode="after")
    def _consistent(self) -> AgentSpec:
        if self.outcome is not None and self.evaluate is not None:
            msg = "give outcome or evaluate, not both"
            raise ValueError(msg)
        if self.outcome is None and self.evaluate is None:
            msg = "outcome or evaluate is needed: which field of a run is the outcome, or which function finds it"
            raise ValueError(msg)
        if self.executor == "thread" and self.memory_limit_mb is not None:
            msg = 'memory_limit_mb needs executor = "process": a thread cannot be limited'
            raise ValueError(msg)
        if len(set(self.actuators)) != len(self.actuators):
            msg = "an actuator is named twice"
            raise ValueError(msg)
        for rule in ("bounds", "max_step", "unbounded"):
            if foreign := sorted(set(getattr(self.guardrails, rule)) - set(self.actuators)):
                msg = f"guardrails.{rule} names {', '.join(foreign)}, which is no actuator of this agent"
                raise ValueError(msg)
        for rule in self.guardrails.rules:
            if not set(parse(rule).names) & set(self.actuators):
                there = ", ".join(self.actuators) or "none"
                msg = f"guardrails.rules: {rule} names no actuator of this agent; it has {there}"
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

    @model_validator(mode="before")
    @classmethod
    def _ends(cls, data: Any) -> Any:
        return _with_open_ends(data)

    @property
    def given(self) -> set[str]:
        """Names of what is to change."""
        return {name for name in ("config", "loop", "guardrails") if getattr(self, name) is not None}


def _with_open_ends(data: Any) -> Any:
    written = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if "guardrails" not in written:
        return cast("Any", data)
    return {**written, "guardrails": open_ends(written["guardrails"])}


class Progress(Answer):
    """Successful runs so far, and the number asked for (null: no limit)."""

    done: int = 0
    total: int | None = None


class Counts(Answer):
    """How many of an agent's suggestions met which fate, and how many outcomes came in another way."""

    suggested: int = 0
    ingested: int = 0
    failed: int = 0
    pending: int = 0
    by_hand: int = Field(default=0, description="points that somebody ingested, with no suggestion of this agent")
    from_runs: int = Field(default=0, description="points of runs that were not for a suggestion of this agent")
    retold: int = Field(default=0, description="outcomes that an earlier agent of this name had, and this one was told")


class BestPoint(Answer):
    """The best point that was measured, or one of the best as the brain sees them: where it stands says which."""

    id: str | None = None
    point: Point
    outcome: dict[str, float]


class RestartAs(Answer):
    """What an agent is to be again after a restart that it makes by itself."""

    state: AgentState
    reason: str | None = None
    held: bool = False


class LastError(Answer):
    """The last fault of an agent."""

    code: str
    message: str
    traceback: str | None = None
    at: datetime


class CallProgress(Answer):
    """How far a call is, as the agent's code reports it, in whatever it counts."""

    done: float
    total: float | None = None
    message: str = ""
    at: datetime


class Busy(Answer):
    """The call an agent is in."""

    call: str
    since: datetime
    progress: CallProgress | None = Field(default=None, description="null: the agent's code did not say")
    job: str | None = Field(default=None, description="id of the job that it is the call of, if somebody waits for one")


class AgentStatus(Answer):
    """What an agent is doing, as of its last finished call."""

    name: str
    state: AgentState
    reason: str | None = None
    type: str
    executor: str
    executor_reason: str | None = Field(default=None, description="why it is that one, when it was left to auto")
    config: dict[str, JsonValue]
    created_at: datetime
    started_at: datetime | None = None
    progress: Progress = Progress()
    counts: Counts = Counts()
    best: BestPoint | None = Field(default=None, description="the best that was measured")
    best_by_model: BestPoint | None = Field(default=None, description="what the brain says is the best, if it does")
    objective: str | None = Field(default=None, description="the outcome that `best` is the best of")
    direction: Literal["maximize", "minimize"] = Field(
        default="maximize", description="whether `best` has the highest or the lowest value of it"
    )
    last_error: LastError | None = None
    busy: Busy | None = None
    suspended: str | None = Field(
        default=None, description="why the RunEngine that measures for it is suspended now; null: it is not"
    )
    legal: list[str] = Field(default_factory=list[str])
    limits: dict[str, Ends] = Field(
        default_factory=dict[str, Ends],
        description="lowest and highest position that its actuators may have now: by its guardrails, those of the "
        "service, and what the devices say; an actuator without any limit is not in it",
    )
    no_limits: list[str] = Field(
        default_factory=list[str],
        description="actuators that neither device nor guardrails bound, and that guardrails.unbounded does not name",
    )
    limits_unread: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="devices that did not say their limits, and why: what they said last holds",
    )
    spec: AgentSpec


class AgentTypeInfo(Answer):
    """An installed brain and the JSON Schema of its config."""

    name: str
    summary: str
    config_schema: dict[str, JsonValue]


class Variable(Answer):
    """What a brain shows of itself, as of its last finished call."""

    name: str
    value: JsonValue
    writable: bool
    at: datetime
    problem: str | None = Field(default=None, description="why there is no value, when it is one that JSON cannot hold")


class VariableValue(Request):
    """A new value of a variable."""

    value: JsonValue


class Method(Answer):
    """A method that a brain lets people call."""

    name: str
    doc: str = Field(default="", description="its docstring")
    parameters: dict[str, JsonValue] = Field(description="JSON Schema of its keyword arguments")
    replay: bool = Field(default=False, description="whether it is called again when the brain is built anew")


class MethodList(Answer):
    """The methods that a brain declares; none before it is started."""

    items: list[Method]
    next: str | None = None


class MethodCall(Request):
    """Arguments of a method."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kwargs": {"keep": 5}}, {"args": [5]}]})

    args: list[JsonValue] = Field(default_factory=list[JsonValue], max_length=MAX_POINTS)
    kwargs: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class MethodAnswer(Answer):
    """What a method returned."""

    result: JsonValue


class Report(Answer):
    """What a brain said of itself."""

    seq: int
    at: datetime
    report: dict[str, JsonValue]


class AgentList(Answer):
    """A page of agents."""

    items: list[AgentStatus]
    next: str | None = None


class VariableList(Answer):
    """An agent's variables."""

    items: list[Variable]
    next: str | None = None


class ReportList(Answer):
    """A page of reports."""

    items: list[Report]
    next: str | None = None


class BestList(Answer):
    """The best points: one for a single objective, the Pareto set for several."""

    items: list[BestPoint]
    by: Literal["model", "measured"] = Field(
        default="model", description="model: the brain says so; measured: it says nothing, and this was measured"
    )
    next: str | None = None


class AgentTypeList(Answer):
    """The installed types."""

    items: list[AgentTypeInfo]
    next: str | None = None
