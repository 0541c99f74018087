"""Agents: what they are made from."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field, JsonValue, field_validator, model_validator

from agent_service.models._base import MAX_NAMES, MAX_POINTS, AgentName, Finite, Name, Request
from agent_service.models._guardrails import Guardrails, with_open_ends
from agent_service.models.guardrail_rules import parse

RunRule = Literal["first", "last"] | dict[str, JsonValue]
"""Which of a plan's runs counts: by order, or by what its start document says."""


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
        return with_open_ends(data)

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
        if len(set(self.actuators)) != len(self.actuators):
            raise ValueError("an actuator is named twice")
        for rule in ("bounds", "max_step", "unbounded"):
            if foreign := sorted(set(getattr(self.guardrails, rule)) - set(self.actuators)):
                raise ValueError(f"guardrails.{rule} names {', '.join(foreign)}, which is no actuator of this agent")
        for rule in self.guardrails.rules:
            if not set(parse(rule).names) & set(self.actuators):
                there = ", ".join(self.actuators) or "none"
                raise ValueError(f"guardrails.rules: {rule} names no actuator of this agent; it has {there}")
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
        return with_open_ends(data)

    @property
    def given(self) -> set[str]:
        """Names of what is to change."""
        return {name for name in ("config", "loop", "guardrails") if getattr(self, name) is not None}
