"""The status of agents."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from agent_service.models._agents import AgentSpec
from agent_service.models._base import Answer, Ends, Page, Point
from agent_service.models.state_machines import AgentState


class Progress(Answer):
    """Successful runs so far, and the number wanted (null: no limit)."""

    done: int = 0
    total: int | None = None


class Counts(Answer):
    """How many of an agent's suggestions have each fate, and how many outcomes came in other ways."""

    suggested: int = 0
    ingested: int = 0
    failed: int = 0
    pending: int = 0
    by_hand: int = Field(default=0, description="points ingested by hand, for no suggestion of this agent")
    from_runs: int = Field(default=0, description="points of runs that were not for a suggestion of this agent")
    retold: int = Field(default=0, description="outcomes ingested from an earlier agent of this name")


class BestPoint(Answer):
    """The best point that was measured, or one of the brain's own best; the field that holds it says which."""

    id: str | None = None
    point: Point
    outcome: dict[str, float]
    sem: dict[str, float] = Field(
        default_factory=dict[str, float], description="standard errors of outcomes, where they are known"
    )


class BestList(Answer):
    """The best points: one for a single objective, the Pareto front for several.

    ``items`` are the brain's own if it has any, else the measured ones.
    """

    items: list[BestPoint]
    by: Literal["model", "measured"] = Field(
        default="model", description="model: items are the brain's own; measured: it has none, and they were measured"
    )
    measured: list[BestPoint] = Field(
        default_factory=list[BestPoint],
        description="the best that was measured, as the service finds it; of several objectives, the points that no "
        "other beats in one without being worse in another; all within outcome_constraints",
    )
    by_model: list[BestPoint] = Field(default_factory=list[BestPoint], description="the brain's own best")
    note: str | None = Field(default=None, description="why no measured point is the best")
    next: str | None = None


class RestartAs(Answer):
    """The state that an agent returns to after an automatic restart."""

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
    """The progress of a call, as the agent's code reports it, in units of its own."""

    done: float
    total: float | None = None
    message: str = ""
    at: datetime


class Busy(Answer):
    """The call an agent is in."""

    call: str
    since: datetime
    progress: CallProgress | None = Field(default=None, description="null: the agent's code did not say")
    job: str | None = Field(default=None, description="id of the call's job, if it has one")


class AgentStatus(Answer):
    """The status of an agent, as of its last finished call."""

    name: str
    state: AgentState
    reason: str | None = None
    type: str
    executor: str
    executor_reason: str | None = Field(default=None, description="why it is that one, if it was auto")
    config: dict[str, JsonValue]
    created_at: datetime
    started_at: datetime | None = None
    progress: Progress = Progress()
    counts: Counts = Counts()
    best: BestPoint | None = Field(default=None, description="the best that was measured")
    best_by_model: BestPoint | None = Field(default=None, description="the brain's own best, if it has one")
    objective: str | None = Field(default=None, description="the outcome that `best` is the best of")
    direction: Literal["maximize", "minimize"] = Field(
        default="maximize", description="whether `best` has the highest or the lowest value of it"
    )
    best_of: str = Field(default="", description="the words before the outcomes of `best`: highest, closest to 3:, ...")
    front: int = Field(
        default=0, description="with several objectives, how many points are on the Pareto front; `best` is one of them"
    )
    no_best: str | None = Field(default=None, description="why no measured point is the best")
    last_error: LastError | None = None
    busy: Busy | None = None
    suspended: str | None = Field(
        default=None,
        description="what it waits for although it runs: a condition that is not met, a suspender of the RunEngine, "
        "documents of a plan that has ended, outcomes for its brain, or a cluster to live on; null: nothing",
    )
    note: str | None = Field(
        default=None,
        description="what is wrong with what its brain reports, for example its best points, or why no filler point is "
        "measured; the agent goes on without it",
    )
    held: bool = Field(
        default=False, description="whether the held queue paused it: it goes on when the queue is resumed"
    )
    to_approve: int = Field(default=0, description="suggestions that wait for a person's approval")
    beam_idle: float | None = Field(
        default=None,
        description="share of the time since its last start, without paused time, in which none of its plans ran; "
        "null: it has not run yet",
    )
    think_s: float = Field(default=0.0, description="seconds its brain took to suggest and ingest since then")
    memory_mb: float | None = Field(
        default=None,
        description="memory of its own process (PSS: with its part of shared memory) in MB (2**20 bytes), as of its "
        "last calls; null: it has no process of its own",
    )
    legal: list[str] = Field(default_factory=list[str])
    limits: dict[str, Ends] = Field(
        default_factory=dict[str, Ends],
        description="lowest and highest position allowed now, by actuator: from its guardrails, those of the service, "
        "and the devices; actuators without limits are left out",
    )
    no_limits: list[str] = Field(
        default_factory=list[str],
        description="actuators without limits from device or guardrails, which guardrails.unbounded does not name",
    )
    units: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="units of its actuators and outcomes, as devices and documents state them; those without units are "
        "left out",
    )
    limits_unread: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="devices whose limits could not be read, and why; the last known limits hold",
    )
    spec: AgentSpec

    @property
    def remarks(self) -> list[str]:
        """What a person needs to know beside its state: why, what it waits for, which limits it lacks."""
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
    """Positions and units of an agent's devices."""

    positions: dict[str, float] = Field(
        description="where its actuators are, in their units; those that cannot be read now are left out. If the "
        "service has no devices, as with a queue server: where they were sent or measured last"
    )
    units: dict[str, str] = Field(description="as in the agent's status")


class AgentList(Page[AgentStatus]):
    """A page of agents."""
