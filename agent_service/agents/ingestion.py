"""Ingests runs: it chooses those that count, finds their outcomes, and tells the brain, each run once."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agent_service.agents import recovery
from agent_service.agents.conditions import spans_of
from agent_service.agents.evaluation import Evaluation
from agent_service.agents.tasks import Role, WorkBehind
from agent_service.documents import outcomes
from agent_service.documents.choice import Made, choose, matches, needs_end
from agent_service.errors import (
    AgentFault,
    BackendUnavailable,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    InvalidPoint,
    NotFound,
    ServiceError,
)
from agent_service.models import ID_KEY
from agent_service.models.standard_errors import parted, with_sems
from agent_service.models.state_machines import AgentState, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from agent_service.agents.agent import HostedAgent
    from agent_service.documents.runs import Run
    from agent_service.models import Suggestion

TAKES_LATE_RUN: Final = frozenset({SuggestionState.EXPIRED, SuggestionState.ABANDONED})
"""Fates after which a run that comes late is still ingested, once."""

_READ_AT_ONCE: Final = 2000
"""Most documents that are read on the event loop: 3 ms."""

R = TypeVar("R")
_S = SuggestionState


class RunIngestion:
    """Turns runs into outcomes that the brain of one agent is told; belongs to the event loop.

    ``plans_end_here``: only this service ends plans, so that an abort of a run is the plan's own.
    """

    def __init__(
        self, agent: HostedAgent, *, plans_end_here: bool, archived: Callable[[str, float], Awaitable[None]]
    ) -> None:
        self.retries = True  # whether the point of a suggestion whose plan was interrupted comes back
        self.inbox: deque[Run] = deque()  # that the loop did not submit, and that are still to be ingested
        self._agent = agent
        self._plans_end_here = plans_end_here
        self.evaluation = Evaluation(agent, archived=archived)
        self._behind = WorkBehind(agent.tasks, Role.OUTCOME)
        self._beside: asyncio.Task[None] | None = None
        self._uncounted: set[asyncio.Task[None]] = set()  # of outcomes that are no runs of the agent's loop

    # runs of suggestions, in the background -----------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether an outcome is being found, or an error of one is to be raised."""
        return self._behind.pending

    @property
    def coming(self) -> int:
        """How many outcomes are being found that count as the agent's runs: not those of filler points."""
        return len(self._agent.tasks.under_way(Role.OUTCOME) - self._uncounted)

    def begin(self, suggestion: Suggestion, runs: Sequence[Run]) -> None:
        """Begin to find the outcome of a suggestion's runs, and ingest it."""
        self._begin(lambda: self._ingest_outcome(suggestion, runs), counts=not suggestion.filler)

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]], *, counts: bool) -> asyncio.Task[None]:
        task = self._behind.begin(work)
        if not counts:
            self._uncounted.add(task)
            task.add_done_callback(self._uncounted.discard)
        return task

    def cancel_pending_outcomes(self) -> None:
        """Give up waiting for outcomes that take long: their runs are kept for the next start."""
        self._agent.tasks.cancel(Role.OUTCOME)

    async def settle(self, *, quietly: bool = False) -> None:
        """Wait until no outcome is pending; raise what went wrong with one, unless ``quietly``."""
        await self._behind.settle(quietly=quietly)

    async def ingest_leftovers(self) -> None:
        """Ingest what was measured before a stop, a crash or a fault."""
        agent = self._agent
        for left in agent.record.open_in(_S.MEASURED):
            if left.outcome is None:  # an evaluate function finds it, below
                continue
            point = {**left.point, **with_sems(left.outcome, left.sem), ID_KEY: left.id}
            await self._ingest([point], [left.run_uid] if left.run_uid else [])
        for left_id, made in list(agent.unevaluated.items()):
            del agent.unevaluated[left_id]
            left = agent.record.open.get(left_id)
            if left is not None and (runs := await self.chosen(left, made)):
                await self._ingest_outcome(left, runs)

    async def chosen(self, suggestion: Suggestion, made: Made) -> Sequence[Run]:
        """Return the runs that count for a suggestion; when there are none, close it, saying why."""
        rule, every = self._agent.spec.run, self.evaluation.takes_every_run
        choice = await _read(made.runs, lambda: choose(made, rule, every=every))
        if choice.exit_status == "unknown":
            await recovery.abandon(self._agent, suggestion, choice.reason, retry=self.retries)
        elif choice.exit_status != "success":
            by_person = choice.exit_status == "abort" and not self._plans_end_here
            if by_person or not await self.void(suggestion, spans_of(made.runs)):
                await self.fail(suggestion, choice.reason, fault=not by_person)
        return choice.runs

    async def fail(
        self,
        suggestion: Suggestion,
        reason: str,
        *,
        fault: bool = True,
        fate: _S = _S.FAILED,
        traceback: str | None = None,
    ) -> None:
        """Close a suggestion without an outcome, unless that is decided; ``fault`` counts towards ``max_failures``."""
        if self._agent.record.suggestion(suggestion.id).state in (_S.SUBMITTED, _S.RUNNING, _S.MEASURED):
            where: dict[str, Any] = {"traceback": traceback} if traceback else {}
            await self._agent.fail_suggestion(suggestion, fate, reason, fault=fault, **where)

    async def void(self, suggestion: Suggestion, spans: Sequence[tuple[float, float]]) -> bool:
        """Return whether a condition was not met in these times; then the suggestion is void, and measured again."""
        why = await self._agent.conditions.void(spans)
        if why and self._agent.record.suggestion(suggestion.id).state in (_S.SUBMITTED, _S.RUNNING):
            if recovery.times_void(self._agent, suggestion) < recovery.MAX_VOID:
                await self._agent.measure_again(suggestion, why)
            else:
                again = f"{recovery.MAX_VOID} runs of this point in a row were void, so it is not measured again"
                await self.fail(suggestion, f"{why}; {again}")
        return bool(why)

    async def _ingest_outcome(self, suggestion: Suggestion, runs: Sequence[Run]) -> None:
        """Find the outcome of a suggestion's runs, and ingest it once."""
        agent = self._agent
        try:
            if await self.void(suggestion, spans_of(runs)):
                return
            outcome = await self.evaluation.outcome_of(runs, suggestion.point, id_=suggestion.id)
        except (InvalidInput, AgentFault, DeadlineExceeded, BackendUnavailable) as error:
            if isinstance(error, AgentFault) and error.died:  # of no fault of the run's: the next brain evaluates it
                agent.unevaluated[suggestion.id] = Made(tuple(runs))
                raise
            await self.fail(suggestion, error.detail)
            return
        except (Conflict, asyncio.CancelledError):  # stopped meanwhile: what was measured is kept for the next start
            agent.unevaluated[suggestion.id] = Made(tuple(runs))
            raise
        state = agent.record.suggestion(suggestion.id).state
        if state not in (_S.RUNNING, _S.MEASURED):
            return  # somebody ingested it by hand meanwhile
        measured = agent.tasks.begin(Role.FACT, _note_measured(agent, suggestion, state, outcome, runs[0].uid))
        try:  # the brain need not wait for the commit: `ingested` is written after it in any case
            await self._ingest([{**suggestion.point, **outcome, ID_KEY: suggestion.id}], [run.uid for run in runs])
        finally:
            await measured

    async def _ingest(self, points: Sequence[dict[str, Any]], run_uids: Sequence[str]) -> None:
        agent = self._agent
        await agent.ingest(points, run_uids=run_uids)
        every = agent.spec.loop.report_every
        if every and agent.record.ingests % every == 0:
            try:
                await agent.report()
            except (NotFound, AgentFault) as error:
                if not agent.brain.is_there:  # it raised, and that was its end
                    raise
                agent.log(error.detail)

    # other runs ---------------------------------------------------------------------------------------------------

    def put(self, run: Run) -> None:
        """Take a run that the loop did not submit: somebody else's, or one that comes late."""
        if not self._agent.keeper.told.knows_run(run.uid):
            self.inbox.append(run)
            self._agent.mark_changed()

    def ingest_beside(self) -> None:
        """Begin to ingest the next run of the inbox, unless one is being ingested; a plan under way goes on."""
        if self.inbox and (self._beside is None or self._beside.done()):
            self._beside = self._begin(self.ingest_next, counts=False)

    async def ingest_next(self) -> None:
        """Ingest the next run of the inbox; one that has no outcome for this agent is passed over and logged."""
        run = self.inbox.popleft()
        try:
            await self.ingest_past_run(run, named=False)
        except ServiceError as error:
            if self._agent.keeper.restarts.survived(error):
                self.inbox.appendleft(run)  # for the next brain
                return
            passed_over = isinstance(error, InvalidInput | AgentFault | DeadlineExceeded | BackendUnavailable)
            if not passed_over or self._agent.record.state is AgentState.FAILED:
                raise
            self._agent.log(f"run {run.uid} was not ingested: {error.detail}")

    async def ingest_past_run(self, run: Run, *, named: bool = True) -> None:
        """Ingest a complete run that the loop did not submit, once; a suggestion of this agent keeps its id.

        One that nobody ``named`` by its uid is passed over when the agent's ``run`` asks for other metadata, and
        refused when it is not the one that counts for its suggestion. Raises `InvalidInput`, `AgentFault`,
        `DeadlineExceeded` or `BackendUnavailable` when the run has no outcome for this agent, or is void.
        """
        agent, spec = self._agent, self._agent.spec
        if (run.stop or {}).get("exit_status") != "success" or await agent.keeper.told.has_ingested(run.uid):
            return
        own = await agent.keeper.told.find_suggestion(str(run.start.get("agent_suggestion_uid")))
        if own is not None and own.state not in TAKES_LATE_RUN:
            agent.log(f"run {run.uid} was not ingested: it came late, and suggestion {own.id} is {own.state}")
            return
        if missing := await _read([run], run.missing):
            raise InvalidInput(f"it did not arrive whole: {missing} did not come")
        if not named and isinstance(spec.run, dict) and not matches(run.start, spec.run):
            return
        if why := await agent.conditions.void(spans_of([run])):
            raise InvalidInput(f"run {run.uid} is {why}; to let it count all the same, ingest its outcome by hand")
        if not named and own is not None:
            self._check_late(run, own)
        if own is None:
            points = await self._points_of_others(run)
        else:
            outcome = await self.evaluation.outcome_of([run], own.point, id_=own.id)
            points = [{**own.point, **outcome, ID_KEY: own.id}]
        await self._ingest(points, [run.uid])

    async def _points_of_others(self, run: Run) -> list[dict[str, Any]]:
        """Return what a run measured that was for no suggestion: a point, or of a scan one for each of its places."""
        agent, spec = self._agent, self._agent.spec
        points: list[dict[str, Any]] = []
        wrong: list[InvalidPoint] = []
        parts = await asyncio.to_thread(outcomes.places, run, spec.actuators)
        if len(parts) > 1 and spec.evaluate:
            raise InvalidInput("it is a scan of actuators, and an evaluate function gives a run one outcome")
        for part in parts:
            try:
                point = await asyncio.to_thread(outcomes.actuators_of, part, spec.actuators, spec.space)
                points.append({**point, **await self.evaluation.outcome_of([part], point, id_=run.uid)})
            except InvalidPoint as error:
                wrong.append(error)
        if not points:
            raise wrong[0]
        if wrong:
            agent.log(f"{len(wrong)} of {len(parts)} places of run {run.uid} were not ingested: {wrong[0].detail}")
        return points

    def _check_late(self, run: Run, own: Suggestion) -> None:
        """Raise unless a run that comes late is known to be the one that counts for its suggestion."""
        rule, first = self._agent.spec.run, own.run_uid in (None, run.uid)
        if needs_end(rule, every=self.evaluation.takes_every_run) or not (first or isinstance(rule, dict)):
            raise InvalidInput(f"it came late, and may not be the one that counts for suggestion {own.id}")


async def _read(runs: Sequence[Run], look: Callable[[], R]) -> R:
    """Return what ``look`` finds in all documents of ``runs``: 100,000 of them take 150 ms, so in a thread."""
    if sum(len(run.documents) for run in runs) <= _READ_AT_ONCE:
        return look()
    return await asyncio.to_thread(look)


async def _note_measured(
    agent: HostedAgent, suggestion: Suggestion, state: _S, outcome: dict[str, Any], run_uid: str
) -> None:
    """Write that a suggestion was measured, unless that is known: its run came when the agent had stopped."""
    if state is not _S.MEASURED:
        values, sems = parted(outcome)
        beside: dict[str, Any] = {"sem": sems} if sems else {}
        await agent.facts.advance(suggestion.id, _S.MEASURED, outcome=values, run_uid=run_uid, **beside)
