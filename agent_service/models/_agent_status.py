"""How agents show themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from agent_service.models._agents import AgentSpec
from agent_service.models._base import Answer, Ends, Page, Point
from agent_service.models.state_machines import AgentState


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


class BestList(Answer):
    """The best points: one for a single objective, the Pareto set for several."""

    items: list[BestPoint]
    by: Literal["model", "measured"] = Field(
        default="model", description="model: the brain says so; measured: it says nothing, and this was measured"
    )
    next: str | None = None


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
        default=None,
        description="why nothing is measured for it now though it runs: a condition that is not met, or a suspender of "
        "the RunEngine; null: nothing keeps it",
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


class AgentList(Page[AgentStatus]):
    """A page of agents."""
