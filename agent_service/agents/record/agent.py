"""What the service knows of one agent: a fold over the journal's facts, and nothing else.

Only `AgentRecord.apply` changes a record. It is called with each fact when it is committed, and with all facts when the
service starts, so memory and journal agree.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pydantic import ConfigDict

from agent_service.agents.record.measured import Measured
from agent_service.agents.record.remembered import is_told
from agent_service.agents.record.suggestions import FILLER, STATES, followed, proposed, report_of
from agent_service.errors import NotFound
from agent_service.models import (
    ID_KEY,
    AgentSpec,
    AgentStatus,
    BestPoint,
    Busy,
    Counts,
    Event,
    EventKind,
    Guardrails,
    LastError,
    LoopSpec,
    Progress,
    Report,
    RestartAs,
    Suggestion,
)
from agent_service.models.objectives import NO_GOALS, read_goals
from agent_service.models.spaces import read_space
from agent_service.models.state_machines import OPEN, UNDER_WAY, AgentState, SuggestionState, legal_commands
from agent_service.models.strict_numbers import CHECKED_BEFORE

if TYPE_CHECKING:
    from agent_service.models.best_measured import Best

REPORTS_KEPT: Final = 100
"""Newest reports of an agent that are in memory, and in a snapshot."""

RUNS_KEPT: Final = 10_000
"""Newest runs of an agent that are known to be ingested; earlier ones are looked up in the journal."""

HANDED_OVER_KEPT = 1000
"""Times of plans that are remembered: as many as `Guardrails.max_runs_per_minute` can allow."""

_P: Final = SuggestionState.PROPOSED


@dataclass(slots=True)
class AgentRecord:
    """One agent, as the journal tells it."""

    __pydantic_config__: ClassVar = ConfigDict(arbitrary_types_allowed=True)

    spec: AgentSpec
    created_at: datetime
    created_seq: int = 0  # also of an agent whose journal is older than this
    state: AgentState = AgentState.CREATED
    reason: str | None = None
    held: bool = False
    restart_as: RestartAs | None = None
    starts_paused: bool = False
    started_at: datetime | None = None
    suggestions: dict[str, Suggestion] = field(default_factory=dict[str, Suggestion])
    open: dict[str, Suggestion] = field(default_factory=dict[str, Suggestion])
    fates: Counter[SuggestionState] = field(default_factory=Counter[SuggestionState])
    proposed_by: dict[str, str] = field(default_factory=dict[str, str])
    best: list[BestPoint] = field(default_factory=list[BestPoint])
    best_kept: set[str] = field(default_factory=set[str], compare=False)  # decided, and here for they are the best
    measured: Measured = field(init=False, compare=False)
    last_error: LastError | None = None
    reports: list[Report] = field(default_factory=list[Report])
    last_told: tuple[int, datetime] | None = None  # the last fact that its brain may know of
    ingested_runs: dict[str, None] = field(default_factory=dict[str, None])
    runs_of_old: set[str] = field(default_factory=set[str])  # those of a journal that does not tell them any more
    fillers: int = 0
    done: int = 0
    failures_in_row: int = 0
    rejections_in_row: int = 0
    last_failure: str = ""
    ingests: int = 0
    by_hand: int = 0
    from_runs: int = 0
    retold: int = 0
    submitted_at: dict[str, datetime] = field(default_factory=dict[str, datetime])  # of those under way
    handed_over: int = 0
    handed_over_at: deque[float] = field(default_factory=lambda: deque(maxlen=HANDED_OVER_KEPT), compare=False)
    run_time_s: float = 0.0
    longest_run_s: float = 0.0
    claimed_by: dict[str, str] = field(default_factory=dict[str, str])
    claim_terms: dict[str, tuple[float, bool]] = field(default_factory=dict[str, tuple[float, bool]])  # see `Claimed`
    approved_by_person: set[str] = field(default_factory=set[str])
    approvals: int = 0
    offered: set[str] = field(default_factory=set[str])
    offered_goals: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        self.measured = Measured(self.spec)

    @classmethod
    def created(cls, event: Event) -> Self:
        """Begin a record with the fact that created the agent."""
        return cls(
            spec=AgentSpec.model_validate(event.data["spec"], context=CHECKED_BEFORE),
            created_at=event.time,
            created_seq=event.seq or 0,
        )

    def apply(self, event: Event) -> None:
        """Take a fact in."""
        data: dict[str, Any] = event.data
        if is_told(event):
            self.last_told = event.seq or 0, event.time
        if event.kind is EventKind.SUGGESTION_STATE:
            self._apply_suggestion(event, data)
        elif event.kind is EventKind.INGEST:
            self._apply_ingest(data)
        elif event.kind is EventKind.AGENT_STATE:
            self._apply_state(event, data)
        elif event.kind is EventKind.REPORT:
            self.reports.append(report_of(event))
            del self.reports[:-REPORTS_KEPT]
        elif event.kind is EventKind.CONFIG:
            self._apply_config(data)
        elif event.kind is EventKind.QUEUE_STATE:
            self._apply_queue(data)

    def _apply_ingest(self, data: dict[str, Any]) -> None:
        self.ingests += 1
        self.ingested_runs.update(dict.fromkeys(data["run_uids"]))
        while len(self.ingested_runs) > RUNS_KEPT:
            del self.ingested_runs[next(iter(self.ingested_runs))]
        self.best = [
            BestPoint.known(id=best.get("id"), point=best["point"], outcome=best["outcome"], sem=best.get("sem") or {})
            for best in data["best"]
        ]
        self.measured.add(data["points"])
        if retold := data.get("retold"):
            runs = sum(origin["counts"] for origin in retold)
            self.retold += len(retold)
            self.done += runs
            self.handed_over += runs
            return
        foreign = sum(not point.get(ID_KEY) for point in data["points"])
        if data["run_uids"]:
            self.from_runs += foreign
        else:
            self.by_hand += foreign

    def _apply_state(self, event: Event, data: dict[str, Any]) -> None:
        self.state = AgentState(data["state"])
        self.reason = data.get("reason")
        self.held = bool(data.get("held"))
        self.starts_paused = bool(data.get("starts_paused"))
        again = data.get("restart_as")
        self.restart_as = RestartAs.model_validate(again) if again else None
        if self.state is AgentState.STARTING and not again:
            self.started_at = event.time
            self.failures_in_row = self.rejections_in_row = 0
        if error := data.get("error"):
            self.last_error = LastError(**error, at=event.time)

    def _apply_suggestion(self, event: Event, data: dict[str, Any]) -> None:
        state = STATES[data["state"]]
        if state is _P and not data.get("again"):
            self.proposed_by[data["id"]] = data["by"]
            self.fillers += data["by"] == FILLER
            new = proposed(event)
        else:
            old = self.suggestions[data["id"]]
            self.fates[old.state] -= 1
            new = followed(old, event)
            self._count(old, new, data)
            self._note_approval(old, new, event)
        self.fates[state] += 1
        self.suggestions[new.id] = new
        if state is SuggestionState.SUBMITTED:
            self.submitted_at[new.id] = event.time
        elif state not in UNDER_WAY:
            self.submitted_at.pop(new.id, None)
        if state in OPEN:
            self.open[new.id] = new
        else:
            self.open.pop(new.id, None)
        if state is SuggestionState.INGESTED:
            if not new.filler:  # which says nothing of the brain
                self.failures_in_row = self.rejections_in_row = 0
            self.done += new.run_uid is not None and not new.filler
        elif data.get("fault") and not new.filler:
            self.failures_in_row += state is SuggestionState.FAILED
            self.rejections_in_row += state is SuggestionState.REJECTED
            self.last_failure = new.reason or ""

    def _note_approval(self, old: Suggestion, new: Suggestion, event: Event) -> None:
        """Count approvals by persons; one that was approved and is proposed again has none."""
        counts = self.proposed_by[new.id] == "loop" and not new.retry_of
        if new.state is SuggestionState.PROPOSED:
            self.approved_by_person.discard(new.id)
            self.approvals -= counts and old.approved_at is not None
        word, by = event.data.get("word"), event.data.get("by")
        if new.state is not SuggestionState.APPROVED:
            return
        if word or (by and old.state is SuggestionState.PROPOSED):  # 0.1.0 wrote no word
            self.approved_by_person.add(new.id)
        if word:
            self.approvals += counts and old.approved_at is None

    def _count(self, old: Suggestion, new: Suggestion, data: dict[str, Any]) -> None:
        """Count what the guardrails limit: plans handed over, and begun or waiting, and the time that runs took."""
        if new.state is SuggestionState.SUBMITTED:
            self._hand_over()
        elif old.state is SuggestionState.SUBMITTED:
            if new.state in (SuggestionState.APPROVED, SuggestionState.REJECTED):
                self._take_back()
            elif self.handed_over_at:  # it began now, or had a while ago
                self.handed_over_at[-1] = time.monotonic()
        elif old.state is SuggestionState.RUNNING and new.state is not old.state:
            if "run_time_s" in data:
                self._ran(data["run_time_s"])
            elif new.state is not SuggestionState.ABANDONED:  # a fact of 0.1.0, which knew no better
                self._ran(max(0.0, (new.updated_at - old.updated_at).total_seconds()))

    def _apply_queue(self, data: dict[str, Any]) -> None:
        """Count moves as plans, and remember whose a claim is."""
        match data.get("command"):
            case "move" if "plan" in data:
                self._hand_over()
            case "moved":
                self._ran(data["run_time_s"]) if data["begun"] else self._take_back()
            case "claim":
                self.claimed_by[data["suggestion"]] = str(data.get("by") or "")
                if "lease_s" in data:
                    self.claim_terms[data["suggestion"]] = float(data["lease_s"]), bool(data["says_done"])
            case "release" if data.get("how") == "unused":
                self.claimed_by.pop(data["suggestion"], None)
                self.claim_terms.pop(data["suggestion"], None)
            case _:
                pass

    def _hand_over(self) -> None:
        self.handed_over += 1
        # no clock that can be set; after a restart of the service all that went before counts as of this moment
        self.handed_over_at.append(time.monotonic())

    def _take_back(self) -> None:
        self.handed_over -= 1
        if self.handed_over_at:
            self.handed_over_at.pop()

    def _ran(self, run_time_s: float | None) -> None:
        """Count the time of a run; of one that the service did not see to its end, the longest there was so far."""
        if run_time_s is not None:
            self.longest_run_s = max(self.longest_run_s, run_time_s)
        self.run_time_s += self.longest_run_s if run_time_s is None else run_time_s

    def _apply_config(self, data: dict[str, Any]) -> None:
        if "config" in data:
            self.spec = self.spec.model_copy(update={"config": data["config"]})
        if "space" in data:
            offered = read_space(data["space"])
            written = as_written(self).space
            self.offered = set(offered)
            self.spec = self.spec.model_copy(update={"space": {**offered, **written}})
        if "goals" in data:
            before, none = self.spec, {name: NO_GOALS[name] for name in self.offered_goals}
            self.spec = self.spec.model_copy(update={**none, **read_goals(data["goals"])})
            self.offered_goals = set(data["goals"])
            if any(getattr(before, name) != getattr(self.spec, name) for name in NO_GOALS):
                self.measured = Measured(self.spec)
                self.measured.is_old = bool(self.ingests)
        if "loop" in data:
            self.spec = self.spec.model_copy(update={"loop": LoopSpec.model_validate(data["loop"])})
            self.failures_in_row = 0
        if "guardrails" in data:
            self.spec = self.spec.model_copy(update={"guardrails": Guardrails.model_validate(data["guardrails"])})
            self.rejections_in_row = 0

    def suggestion(self, suggestion_id: str) -> Suggestion:
        """Return one of the agent's suggestions, or raise `NotFound`."""
        try:
            return self.suggestions[suggestion_id]
        except KeyError:
            raise NotFound(f"agent {self.spec.name!r} has no suggestion {suggestion_id}") from None

    def open_in(self, *states: SuggestionState) -> list[Suggestion]:
        """Return the open suggestions in one of ``states``, oldest first."""
        return [suggestion for suggestion in self.open.values() if suggestion.state in states]

    def counts(self) -> Counts:
        """Return how many suggestions met which fate."""
        return Counts(
            suggested=self.fates.total(),
            ingested=self.fates[SuggestionState.INGESTED],
            failed=self.fates[SuggestionState.FAILED],
            pending=len(self.open),
            by_hand=self.by_hand,
            from_runs=self.from_runs,
            retold=self.retold,
        )

    @property
    def best_by_model(self) -> BestPoint | None:
        """What the brain says is the best point, if it says so."""
        return self.best[0] if self.best else None

    @property
    def best_measured(self) -> Best:
        """The best point that was measured, if one was, and what it is the best of."""
        return self.measured.bests.best(self.spec, self.best_by_model)

    def status(self, *, executor: str, executor_reason: str | None, busy: Busy | None) -> AgentStatus:
        """Return the agent as the API shows it."""
        best = self.best_measured
        return AgentStatus(
            name=self.spec.name,
            state=self.state,
            reason=self.reason,
            held=self.held,
            type=self.spec.type,
            executor=executor,
            executor_reason=executor_reason,
            config=self.spec.config,
            created_at=self.created_at,
            started_at=self.started_at,
            progress=Progress(done=self.done, total=self.spec.loop.max_runs),
            counts=self.counts(),
            best=best.point,
            best_by_model=self.best_by_model,
            objective=best.objective,
            direction=best.direction,
            best_of=best.words if best.point else "",
            front=len(best.front),
            no_best=best.none,
            last_error=self.last_error,
            busy=busy,
            legal=[str(command) for command in legal_commands(self.state)],
            spec=self.spec,
        )


def as_written(record: AgentRecord) -> AgentSpec:
    """Return an agent's specification without what its brain offers."""
    space = {name: dim for name, dim in record.spec.space.items() if name not in record.offered}
    return record.spec.model_copy(update={"space": space, **{name: NO_GOALS[name] for name in record.offered_goals}})
