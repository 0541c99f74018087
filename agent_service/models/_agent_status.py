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
    sem: dict[str, float] = Field(
        default_factory=dict[str, float], description="standard errors of outcomes, of those of which it is known"
    )


class BestList(Answer):
    """The best points: one for a single objective, the Pareto front for several.

    ``items`` are the brain's own where it says any, else those that were measured.
    """

    items: list[BestPoint]
    by: Literal["model", "measured"] = Field(
        default="model", description="model: the brain says so; measured: it says nothing, and this was measured"
    )
    measured: list[BestPoint] = Field(
        default_factory=list[BestPoint],
        description="the best that was measured: the service found it; of several objectives the points than which "
        "none is better in one and not worse in another, all within outcome_constraints",
    )
    by_model: list[BestPoint] = Field(default_factory=list[BestPoint], description="what the brain says is the best")
    note: str | None = Field(default=None, description="why nothing that was measured is the best")
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
    best_of: str = Field(
        default="", description="what `best` is, as a person says it before its outcomes: highest, closest to 3:, ..."
    )
    front: int = Field(
        default=0, description="of several objectives, how many points are on the Pareto front; `best` is one of them"
    )
    no_best: str | None = Field(default=None, description="why none of the points that were measured is the best")
    last_error: LastError | None = None
    busy: Busy | None = None
    suspended: str | None = Field(
        default=None,
        description="why nothing is measured for it now though it runs: a condition that is not met, a suspender of "
        "the RunEngine, outcomes that its brain waits for, or a cluster to live on; null: nothing keeps it",
    )
    note: str | None = Field(
        default=None,
        description="what is wrong with what its brain says of itself, as its best points, or why no filler point is "
        "measured; it goes on without that",
    )
    held: bool = Field(
        default=False, description="whether the queue, which is held, paused it: it goes on when the queue is resumed"
    )
    to_approve: int = Field(default=0, description="suggestions that wait for a person's approval")
    beam_idle: float | None = Field(
        default=None,
        description="share of the time since its last start, paused time left out, in which no plan of its ran; null: "
        "it has not run yet",
    )
    think_s: float = Field(default=0.0, description="seconds that its brain took to suggest and ingest since then")
    memory_mb: float | None = Field(
        default=None,
        description="memory of its own process (PSS, with its part of what is shared) in MB (2**20 bytes), as of its "
        "last calls; null: it has no process of its own",
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
    units: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="units of its actuators and outcomes, as devices and documents state them; one that states none is "
        "not in it",
    )
    limits_unread: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="devices that did not say their limits, and why: what they said last holds",
    )
    spec: AgentSpec

    @property
    def remarks(self) -> list[str]:
        """What a person is to know beside its state: why it is so, what it waits for, which limits it lacks."""
        waits = f"{self.to_approve} suggestion{' waits' if self.to_approve == 1 else 's wait'} for approval"
        suspended = f"suspended: {self.suspended}" if self.suspended else None
        error = self.last_error.message if self.last_error else None
        reason, done, total = self.reason, self.progress.done, self.progress.total
        if self.state is AgentState.PAUSED and total is not None and done >= total:
            reason = f"{done} of {total} runs are made, so it measures no more until max_runs is greater"
        elif self.state is AgentState.STARTING:
            reason = suspended or reason
        return [
            *filter(None, [reason or suspended or error, self.no_best]),
            *([waits] if self.to_approve else []),
            *([f"no limits: {', '.join(self.no_limits)}"] if self.no_limits else []),
        ]


class AgentDevices(Answer):
    """What the devices of an agent say when they are asked."""

    positions: dict[str, float] = Field(
        description="where its actuators are, in their units; one that does not say so now is not in it. Where the "
        "service has no devices, as with a queue server: where they were sent or measured last"
    )
    units: dict[str, str] = Field(description="as in the agent's status")


class AgentList(Page[AgentStatus]):
    """A page of agents."""
