"""Specifications of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field, JsonValue, field_validator, model_validator

from agent_service.models._approval import Approval
from agent_service.models._base import MAX_NAMES, MAX_POINTS, AgentName, FewNames, Finite, Name, Request
from agent_service.models._guardrails import Guardrails, with_open_ends
from agent_service.models.guardrail_rules import parse
from agent_service.models.objectives import Limit, Limits, Objective, Objectives, check_outcomes
from agent_service.models.spaces import Dimension, Space, check_guardrails, check_space

if TYPE_CHECKING:
    from collections.abc import Collection

RunRule = Literal["first", "last"] | dict[str, JsonValue]
"""Which of a plan's runs counts: by order, or by metadata of its start document."""


class Timeouts(Request):
    """Deadlines of an agent's calls, in seconds: a call past its deadline is abandoned and the agent `failed`."""

    start: Finite = Field(default=600, gt=0, description="build the brain and replay its outcomes")
    suggest: Finite = Field(default=600, gt=0)
    ingest: Finite = Field(default=600, gt=0)
    report: Finite = Field(default=600, gt=0)
    evaluate: Finite = Field(default=600, gt=0)
    method: Finite = Field(default=600, gt=0)


class RestartSpec(Request):
    """How an agent comes back after a fault, with ``on_fault = "restart"``."""

    limit: int = Field(default=5, ge=1, description="after so many restarts in a row the agent is failed")
    pause: Finite = Field(
        default=1, gt=0, le=60, description="seconds before the first restart; doubled before each later one, up to 60"
    )


class LoopSpec(Request):
    """How an agent's loop runs."""

    n_points: int = Field(
        default=1, ge=1, le=MAX_POINTS, title="points at a time", description="points that the brain suggests at a time"
    )
    max_runs: int | None = Field(
        default=None,
        ge=1,
        title="runs at most",
        description="the agent stops after so many successful runs; null: no limit",
    )
    max_failures: int = Field(
        default=3,
        ge=1,
        title="failures in a row",
        description="the agent stops after so many failed suggestions in a row",
    )
    approval: Approval = Field(
        default="auto",
        title="approval",
        description="required: a person approves each suggestion; first N: a person approves N, later ones are "
        "approved at once",
    )
    approval_distance: FewNames[dict[str, Annotated[Finite, Field(gt=0)]]] | None = Field(
        default=None,
        title="approval beyond",
        description="a person approves each point with no measured point within this distance in every actuator named, "
        "in its units, whatever approval says; null: any distance",
        examples=[{"mirror_x": 0.5}],
    )
    approval_expires_s: Finite | None = Field(
        default=None,
        gt=0,
        title="approval holds (s)",
        description="a measurement must begin within so many seconds of a person's approval, else it waits for a "
        "person again; null: no limit",
    )
    report_every: int | None = Field(
        default=None, ge=1, title="report every", description="ask the brain for a report after so many ingests"
    )
    max_pending: int = Field(
        default=1,
        ge=1,
        le=MAX_POINTS,
        title="open at most",
        description="how many suggestions may be open, including the one being measured: with 2, the brain suggests "
        "the next point meanwhile",
    )
    filler: AgentName | None = Field(
        default=None,
        description='what is measured while the brain is not ready: "sobol" for points of a Sobol sequence, or '
        "another agent's name for its suggestions; null: nothing",
    )


class AgentSpec(Request):
    """All that is needed to host an agent."""

    name: AgentName
    type: str = Field(
        min_length=1, max_length=500, description="an installed type, or module:callable, called with **config"
    )
    config: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    tag: Name | None = Field(
        default=None,
        description="runners claim suggestions by this tag, for example a beamline's name",
    )
    actuators: list[Name] = Field(default_factory=list[str], max_length=64)
    sensors: list[Name] = Field(default_factory=list[str], max_length=64)
    outcome: Name | Annotated[list[Name], Field(max_length=MAX_NAMES)] | None = Field(
        default=None, description="field or fields: the mean of each over the events of primary"
    )
    evaluate: str | None = Field(
        default=None,
        max_length=500,
        description="module:function of (run, suggestions), (uid, suggestions), (runs, suggestions) or (uids, "
        "suggestions): its first parameter's name says what it gets",
    )
    run: RunRule | None = Field(
        default=None,
        description="which run counts if the plan makes several for a suggestion: first, last, or metadata of its "
        "start document; null: it makes one, or evaluate takes them all",
        examples=["last", {"purpose": "light"}],
    )
    direction: Literal["maximize", "minimize"] | None = Field(
        default=None,
        description="whether a higher or lower outcome is better; null: as maximize or minimize in config says, else "
        "as the brain's own best point suggests",
    )
    objectives: Objectives = Field(
        default_factory=dict[str, Objective],
        description="which outcomes to make high, low, or close to a target; if any has a weight, the best is that of "
        "their weighted sum, else several have a Pareto front; empty: as direction or the brain says",
        examples=[{"flux": "maximize", "width": {"target": 0.5, "weight": 2}}],
    )
    outcome_constraints: Limits = Field(
        default_factory=dict[str, Limit],
        description="limits of outcomes: a point outside them is never the best",
        examples=[{"temp": {"max": 80}}],
    )
    observables: list[Name] = Field(
        default_factory=list[str], max_length=MAX_NAMES, description="outcomes that are recorded, not optimized"
    )
    space: Space = Field(
        default_factory=dict[str, Dimension],
        description="which values each actuator may have: [low, high], or a type and its fields; an actuator that is "
        "not named takes any number, or what its brain says",
        examples=[{"x": [-3, 3], "filter": {"type": "choice", "values": ["Al", "Ti"]}}],
    )
    plan: str = Field(
        default="acquire",
        min_length=1,
        max_length=500,
        description="a plan of the startup namespace, or module:callable",
    )
    executor: Literal["auto", "thread", "process", "dask"] = Field(
        default="auto",
        description="where its brain lives; auto: a process of its own if the service is headless and the brain can be "
        "sent there, else a thread of the service; dask: a process on a worker of the cluster in [executors.dask]",
    )
    resources: dict[Name, Annotated[Finite, Field(gt=0)]] = Field(
        default_factory=dict[str, float],
        max_length=20,
        description="what it takes of a worker while it lives there, by the names that the worker offers",
        examples=[{"GPU": 1}],
    )
    memory_limit_mb: int | None = Field(
        default=None,
        ge=128,
        le=1 << 24,
        description="most memory for its data, libraries included, in MB; only for a process",
    )
    listen: Literal["own", "all"] = Field(
        default="own", description="all: ingest every run, not only those of its own suggestions"
    )
    warm_start: list[Name] = Field(
        default_factory=list[str], max_length=10_000, description="uids of runs to ingest before the start"
    )
    timeouts: Timeouts = Timeouts()
    on_fault: Literal["fail", "restart"] = Field(
        default="fail", description="restart: after a fault, the service rebuilds its brain by replay"
    )
    restarts: RestartSpec = RestartSpec()
    recover: Literal["resume", "paused"] | None = Field(
        default=None,
        description="what a live agent does after a restart of the service; null: as [service] recover says",
    )
    loop: LoopSpec = LoopSpec()
    guardrails: Guardrails = Guardrails()
    names: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="the brain's word for an actuator or an outcome, by its own name; the service finds it for "
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
        return _with_outcome(with_open_ends(data))

    @field_validator("run", mode="before")
    @classmethod
    def _known_rule(cls, rule: object) -> object:
        if rule is None or rule in ("first", "last") or (isinstance(rule, dict) and rule):
            return cast("object", rule)
        raise ValueError('run is "first", "last", or metadata of the run that counts, as {"purpose": "light"}')

    @model_validator(mode="after")
    def _consistent(self) -> AgentSpec:
        if self.outcome is not None and self.evaluate is not None:
            raise ValueError("give outcome or evaluate, not both")
        if self.outcome is None and self.evaluate is None:
            raise ValueError(
                "outcome or evaluate is needed: which field of a run is the outcome, or which function finds it"
            )
        if self.executor == "thread" and self.memory_limit_mb is not None:
            raise ValueError('memory_limit_mb needs executor = "process": a thread cannot be limited')
        if self.resources and self.executor != "dask":
            raise ValueError('resources needs executor = "dask": they are those of the workers of a cluster')
        if self.loop.filler == self.name:
            raise ValueError('loop.filler is "sobol", or the name of another agent')
        if len(set(self.actuators)) != len(self.actuators):
            raise ValueError("an actuator is named twice")
        check_outcomes(
            self.outcomes,
            objectives=self.objectives,
            outcome_constraints=self.outcome_constraints,
            observables=self.observables,
        )
        check_space(self.space, self.actuators)
        check_guardrails(self.guardrails, self.space)
        # one that is written as the way to a device may be named otherwise too: its own name is known later
        if not any("." in name for name in self.actuators):
            for field, message in foreign_names(self.guardrails, self.actuators):
                raise ValueError(f"{field} {message}")
            if foreign := {*(self.loop.approval_distance or {})} - {*self.actuators, *self.names.values()}:
                raise ValueError(f"loop.approval_distance names {', '.join(sorted(foreign))}, which is no actuator")
        return self


def _with_outcome(data: Any) -> Any:
    """Name as outcomes what objectives, constraints and observables name, where nothing else says how to find them."""
    if not isinstance(data, dict):
        return data
    spec = cast("dict[str, Any]", data)
    if spec.get("outcome") is not None or spec.get("evaluate") is not None:
        return spec
    fields = [spec.get(field) for field in ("objectives", "outcome_constraints", "observables")]
    names = [name for names in fields if isinstance(names, dict | list) for name in cast("list[Any]", names)]
    return {**spec, "outcome": list(dict.fromkeys(names))} if names and all(isinstance(n, str) for n in names) else spec


def foreign_names(rails: Guardrails, actuators: Collection[str]) -> list[tuple[str, str]]:
    """Return the names in guardrails that are no actuators, each as a field and what is wrong there."""
    there = f"it has {', '.join(actuators) or 'none'}"
    wrong = [
        (f"guardrails.{rule}", f"names {', '.join(foreign)}, which is no actuator of this agent; {there}")
        for rule in ("bounds", "allowed", "max_step", "unbounded")
        if (foreign := sorted(set(getattr(rails, rule)) - set(actuators)))
    ]
    return wrong + [
        ("guardrails.rules", f"hold {rule}, which names no actuator of this agent; {there}")
        for rule in rails.rules
        if not set(parse(rule).names) & set(actuators)
    ]


class AgentPatch(Request):
    """A change to an agent: config rebuilds it by replay, loop and guardrails count at once.

    ``loop`` and ``guardrails`` are merged into the present ones, ``bounds`` and ``max_step`` actuator by actuator: null
    removes an actuator's limit, an empty object removes all. ``config`` replaces the whole configuration. Name and type
    cannot change: they are accepted here and refused with 409.
    """

    config: dict[str, JsonValue] | None = None
    loop: dict[str, JsonValue] | None = None
    guardrails: dict[str, JsonValue] | None = None
    name: str | None = None
    type: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _ends(cls, data: Any) -> Any:
        return with_open_ends(data)

    @property
    def given(self) -> set[str]:
        """Names of the fields to change."""
        return {name for name in ("config", "loop", "guardrails") if getattr(self, name) is not None}
