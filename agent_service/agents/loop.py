"""One agent's loop: suggest, check, approve, submit, wait for the run, find its outcome, ingest; and again.

The way of a document: source -> dispatcher -> here (`_measure`) -> outcome -> executor (`HostedAgent.ingest`) ->
journal -> followers. One plan of an agent is under way at a time; while it runs, the outcome of the last is ingested,
and the next one of a batch is handed to the sink ahead, so that the RunEngine never waits for us.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from agent_service.agents import guardrails, recovery
from agent_service.agents.submission import Lookahead, Submission
from agent_service.agents.tasks import Role
from agent_service.documents import outcomes
from agent_service.documents.choice import Made, choose, matches, needs_end
from agent_service.errors import (
    AgentFault,
    BackendUnavailable,
    Conflict,
    DeadlineExceeded,
    IllegalTransition,
    InvalidInput,
    NotFound,
    OutOfBounds,
    QueueHeld,
    ServiceError,
)
from agent_service.models import ID_KEY, EventKind, QueueState
from agent_service.models.states import ALIVE, AgentState, SuggestionState
from agent_service.protocols import SERVICE_STOPS, ExitStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent_service.agents.agent import HostedAgent
    from agent_service.documents.dispatch import RunDispatcher
    from agent_service.documents.runs import Run
    from agent_service.journal import JournalLog
    from agent_service.models import Suggestion
    from agent_service.protocols import PlanResult, PlanSink

MAX_REJECTIONS: Final = 100
"""Suggestions that the guardrails may reject in a row before the agent stops: by then it does not learn from it."""

TAKES_LATE_RUN: Final = frozenset({SuggestionState.EXPIRED, SuggestionState.ABANDONED})
"""Fates after which a run that comes late is still ingested, once."""

_log = logging.getLogger(__name__)
_S = SuggestionState
_FATES: Final = {ExitStatus.EXPIRED: _S.EXPIRED, ExitStatus.REJECTED: _S.REJECTED}


class AgentLoop:
    """Drives one agent while it is running or paused.

    Parameters
    ----------
    agent
        The agent.
    sink
        Where its plans go.
    dispatcher
        Where its runs come from.
    journal
        For log lines that the event stream shows.
    archived
        ``await archived(uid, timeout_s)`` returns when the catalogue holds the run.

    Attributes
    ----------
    stopping
        Whether it is to begin nothing more, and `run` to return.
    in_flight
        Whether it waits for a plan to end.
    retries
        Whether the point of a suggestion whose plan was interrupted comes back.
    """

    def __init__(
        self,
        agent: HostedAgent,
        *,
        sink: PlanSink,
        dispatcher: RunDispatcher,
        journal: JournalLog,
        archived: Callable[[str, float], Awaitable[None]],
    ) -> None:
        self.stopping = False
        self.retries = True
        self.in_flight = False
        self._draining = False
        self._agent = agent
        self._sink = sink
        self._dispatcher = dispatcher
        self._journal = journal
        self._archived = archived
        self._inbox: deque[Run] = deque()
        self._silent_at: int | None = None
        self._delayed = ""
        self._brain = 0
        self._outcome_errors: list[Exception] = []
        self._hand_over = partial(Submission.begin, agent, sink=sink, dispatcher=dispatcher)
        self._ahead = Lookahead(agent, journal=journal, may_begin=self._may_hand_ahead, begin=self._hand_over)

    def take_run(self, run: Run) -> None:
        """Take a run that was not submitted by this loop: somebody else's, or one that comes late."""
        if run.uid not in self._agent.record.ingested_runs:
            self._inbox.append(run)
            self._agent.mark_changed()

    async def run(self) -> str | None:
        """Drive the agent until it stops or fails; returns why it stopped, None when it was told to or failed."""
        try:
            return await self._drive()
        finally:
            self._ahead.drop()
            await self._settle_outcomes(quietly=True)

    def drain(self) -> None:
        """Begin nothing more, and let `run` return when what is under way has ended: the service stops."""
        self.stopping = self._draining = True

    def cancel_pending_outcomes(self) -> None:
        """Give up waiting for outcomes that take long: their runs are kept for the next start."""
        self._agent.tasks.cancel(Role.OUTCOME)

    # the cycle ----------------------------------------------------------------------------------------------------

    async def _drive(self) -> str | None:
        record = self._agent.record
        while True:
            try:
                if (next_one := await self._ahead.take()) is not None:
                    await self._await_run(next_one)  # whatever the state is by now: it may have begun
                elif self.stopping or record.state not in ALIVE:
                    return None
                elif ending := await self._go():
                    return ending
            except ServiceError as error:
                if not self._agent.keeper.restarts.survived(error):
                    raise

    async def _go(self) -> str | None:
        """Do what the agent's state allows; return why it is to stop, if it is."""
        agent, state = self._agent, self._agent.record.state
        agent.wake.clear()
        if state is AgentState.STARTING:  # its brain is built again after a fault
            await agent.wake.wait()
        elif (brain := agent.brain.builds) != self._brain:
            await self._settle_outcomes()
            await self._take_leftovers()
            self._brain = brain
        elif state is AgentState.PAUSED:
            await agent.wake.wait()
        elif self._sink.status.state is QueueState.HELD:
            await agent.facts.become_from({AgentState.RUNNING}, AgentState.PAUSED, "the queue is held", held=True)
        else:
            return await self._step()
        return None

    async def _step(self) -> str | None:
        """Do what is next; return why the agent is to stop, if it is."""
        limit = self._limit()
        if self._inbox:
            await self._take_foreign(self._inbox.popleft())
        elif limit and not self._outcomes_pending:
            return limit
        elif not limit and (approved := self._agent.record.open_in(_S.APPROVED)):
            if wait_s := self._rate_wait_s(approved[0]):
                await self._wait(wait_s)
            else:
                await self._measure(approved[0])
        elif self._outcomes_pending:
            await self._settle_outcomes()
        elif self._agent.brain.stop_reason:
            return self._agent.brain.stop_reason
        elif spent := guardrails.spent(self._agent.guardrails.now, self._agent.guardrails.history):
            return spent
        elif left := self._unapproved():
            await self._approve(left)
        elif self._awaits_approval() or self._has_nothing_new() or not await self._propose():
            await self._wait()
        return None

    async def _take_leftovers(self) -> None:
        """Ingest what was measured before a stop, a crash or a fault."""
        agent = self._agent
        for left in agent.record.open_in(_S.MEASURED):
            await self._ingest(left.id, {**left.point, **(left.outcome or {})}, [left.run_uid] if left.run_uid else [])
        for left_id, made in list(agent.unevaluated.items()):
            del agent.unevaluated[left_id]
            left = agent.record.open.get(left_id)
            if left is not None and (runs := await self._counting(left, made)):
                await self._take_outcome(left, runs)

    def _limit(self) -> str | None:
        """Return which limit is reached, so that nothing more is submitted; outcomes under way count as runs."""
        record, limits = self._agent.record, self._agent.spec.loop
        done = record.done + len(self._agent.tasks.under_way(Role.OUTCOME))
        if limits.max_runs is not None and done >= limits.max_runs:
            return f"max_runs reached ({done} of {limits.max_runs})"
        if record.failures_in_row >= limits.max_failures:
            return f"{record.failures_in_row} failures in a row (max_failures); the last: {record.last_failure}"
        if record.rejections_in_row >= MAX_REJECTIONS:
            listed = "guardrails.plans" in (record.last_failure or "")
            advice = "give it a plan of that list" if listed else "configure it with bounds inside the guardrails"
            return f"{MAX_REJECTIONS} suggestions in a row were rejected; the last: {record.last_failure}; {advice}"
        return None

    def _awaits_approval(self) -> bool:
        by = self._agent.record.proposed_by
        return any(by[one.id] == "loop" for one in self._agent.record.open_in(_S.PROPOSED))

    def _unapproved(self) -> Suggestion | None:
        """Return a suggestion of the loop that needs no approval (any more) and has none: after a crash, or a PATCH."""
        if self._agent.guardrails.needs_approval:
            return None
        by = self._agent.record.proposed_by
        return next((one for one in self._agent.record.open_in(_S.PROPOSED) if by[one.id] == "loop"), None)

    async def _approve(self, suggestion: Suggestion) -> None:
        with contextlib.suppress(IllegalTransition):  # a person was quicker
            if await self._allowed(suggestion):
                await self._agent.facts.advance(suggestion.id, _S.APPROVED)

    def _has_nothing_new(self) -> bool:
        """Whether the brain had nothing to suggest, and learned nothing since."""
        return self._silent_at == self._agent.record.ingests

    async def _propose(self) -> bool:
        """Ask the brain for the next batch; False when it has nothing to say now."""
        agent, spec = self._agent, self._agent.spec
        if not agent.brain.traits.suggests:
            return False
        n_points = spec.loop.n_points
        if spec.loop.max_runs is not None:
            n_points = min(n_points, spec.loop.max_runs - agent.record.done)
        batch = await agent.suggest(n_points, by="loop", approve=not agent.guardrails.needs_approval)
        if not batch and spec.listen == "own":
            agent.brain.stop_reason = "the agent has nothing more to suggest"
            return True
        self._silent_at = None if batch else agent.record.ingests
        return bool(batch)

    def _rate_wait_s(self, suggestion: Suggestion) -> float:
        rails = self._agent.guardrails.now
        wait_s = guardrails.wait_s(rails, self._agent.record.handed_over_at, time.monotonic())
        if wait_s and self._delayed != suggestion.id:
            self._delayed = suggestion.id
            self._log(
                f"the next plan waits {wait_s:.1f} s: guardrails.max_runs_per_minute = {rails.max_runs_per_minute}"
            )
        return wait_s

    async def _wait(self, at_most_s: float | None = None) -> None:
        if not self._inbox and not self.stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._agent.wake.wait(), at_most_s)

    async def _allowed(self, suggestion: Suggestion) -> bool:
        try:
            await self._agent.guardrails.check(suggestion)
        except OutOfBounds as error:
            await self._agent.fail_suggestion(suggestion, _S.REJECTED, error.detail, fault=True)
            return False
        return True

    # one suggestion -----------------------------------------------------------------------------------------------

    async def _measure(self, suggestion: Suggestion) -> None:
        """Submit an approved suggestion and wait until its plan ended; its outcome is taken in the background."""
        with contextlib.suppress(IllegalTransition):  # somebody else decided: rejected, or ingested by hand
            if await self._allowed(suggestion) and (flight := await self._hand_over(suggestion)) is not None:
                await self._await_run(flight)

    async def _await_run(self, flight: Submission) -> None:
        """Wait until a plan in the sink ended, and close its suggestion, or take its outcome in the background."""
        agent, suggestion = self._agent, flight.suggestion
        self.in_flight = True
        try:
            if self.stopping:
                flight.take_back("not measured: the agent was stopped")
            await self._attend(flight.plan, flight.started)
            await flight.note_start()
            await self._attend(flight.plan)
            result = await flight.result()
            agent.facts.run_ended(suggestion.id)
            if result.exit_status is not ExitStatus.SUCCESS:
                await self._close(suggestion, result)
                return
            made = await flight.made(result)
            if len(made.runs) > 1 or needs_end(agent.spec.run, every=self._takes_every):
                await agent.facts.note_runs(suggestion.id, [run.uid for run in made.runs])
        except QueueHeld:  # it fell between our look and the submission
            await agent.facts.advance(suggestion.id, _S.APPROVED, reason="the queue was held")
            return
        except TimeoutError:
            await self._fail(suggestion, "the plan ended, but the stop document of its run did not come")
            return
        finally:
            self.in_flight = False
            flight.close()
        if not (runs := await self._counting(suggestion, made)):
            return
        agent.tasks.begin(Role.OUTCOME, self._outcome(suggestion, runs))

    async def _attend(self, *futures: asyncio.Future[Any]) -> None:
        """Wait until one of them is done; meanwhile take others' runs, and hand the next plan ahead.

        A plan may wait for hours, so whatever changes is looked at.
        """
        while not any(one.done() for one in futures):
            changed = self._agent.changed()  # taken before the look, so that no change is missed
            if self._inbox and self._agent.record.state is AgentState.RUNNING:
                await self._take_foreign(self._inbox.popleft())
                continue
            if self._sink.takes_ahead:
                await self._ahead.look(under_way=1)
            if not any(one.done() for one in futures):
                await asyncio.wait({*futures, *self._ahead.news, changed}, return_when=asyncio.FIRST_COMPLETED)

    def _may_hand_ahead(self, under_way: int) -> bool:
        """Whether the next one would be measured whatever becomes of the ``under_way`` plans before it."""
        record, limits = self._agent.record, self._agent.spec.loop
        if self.stopping or record.state is not AgentState.RUNNING or guardrails.one_by_one(self._agent.guardrails.now):
            return False
        done = record.done + len(self._agent.tasks.under_way(Role.OUTCOME)) + under_way
        failures = record.failures_in_row + under_way
        return failures < limits.max_failures and (limits.max_runs is None or done < limits.max_runs)

    async def _close(self, suggestion: Suggestion, result: PlanResult) -> None:
        """Close a suggestion that was not measured; what a person asked for is no failure of the agent's."""
        taken_back = result.exit_status is ExitStatus.ABORT and not result.begun
        if self._draining and taken_back and self._agent.record.suggestion(suggestion.id).state is _S.SUBMITTED:
            await self._agent.facts.advance(suggestion.id, _S.APPROVED, reason=SERVICE_STOPS)
            return
        fate = _FATES.get(result.exit_status, _S.FAILED)
        asked = result.exit_status is ExitStatus.ABORT and result.asked
        await self._fail(
            suggestion,
            result.reason or result.exit_status,
            fault=not (fate is _S.EXPIRED or asked),
            fate=fate,
        )

    async def _fail(self, suggestion: Suggestion, reason: str, *, fault: bool = True, fate: _S = _S.FAILED) -> None:
        if self._agent.record.suggestion(suggestion.id).state in (_S.SUBMITTED, _S.RUNNING, _S.MEASURED):
            await self._agent.fail_suggestion(suggestion, fate, reason, fault=fault)

    @property
    def _takes_every(self) -> bool:
        """Whether the evaluate function takes all runs of a suggestion."""
        return self._agent.brain.traits.takes in ("runs", "uids")

    async def _counting(self, suggestion: Suggestion, made: Made) -> Sequence[Run]:
        """Return the runs that count for a suggestion; when there are none, close it, saying why."""
        chosen = choose(made, self._agent.spec.run, every=self._takes_every)
        if chosen.exit_status == "unknown":
            await recovery.abandon(self._agent, suggestion, chosen.reason, retry=self.retries)
        elif chosen.exit_status != "success":
            by_a_person = chosen.exit_status == "abort" and not self._sink.plans_end_here
            await self._fail(suggestion, chosen.reason, fault=not by_a_person)
        return chosen.runs

    async def _outcome(self, suggestion: Suggestion, runs: Sequence[Run]) -> None:
        """Find the outcome of a suggestion's runs, and ingest it once; keep an error for `_settle_outcomes`."""
        try:
            await self._take_outcome(suggestion, runs)
        except Exception as error:  # noqa: BLE001 - raised in the loop
            self._outcome_errors.append(error)

    async def _take_outcome(self, suggestion: Suggestion, runs: Sequence[Run]) -> None:
        agent = self._agent
        try:
            outcome = await self._evaluate(runs, suggestion.point, id_=suggestion.id)
        except (InvalidInput, AgentFault, DeadlineExceeded, BackendUnavailable) as error:
            if isinstance(error, AgentFault) and error.died:  # of no fault of the run's: the next brain evaluates it
                agent.unevaluated[suggestion.id] = Made(tuple(runs))
                raise
            await self._fail(suggestion, error.detail)
            return
        except (Conflict, asyncio.CancelledError):  # stopped meanwhile: what was measured is kept for the next start
            agent.unevaluated[suggestion.id] = Made(tuple(runs))
            raise
        if agent.record.suggestion(suggestion.id).state is not _S.RUNNING:
            return  # somebody ingested it by hand meanwhile
        measured = asyncio.ensure_future(
            agent.facts.advance(suggestion.id, _S.MEASURED, outcome=outcome, run_uid=runs[0].uid)
        )
        try:  # the brain need not wait for the commit: `ingested` is written after it in any case
            await self._ingest(suggestion.id, {**suggestion.point, **outcome}, [run.uid for run in runs])
        finally:
            await measured

    async def _ingest(self, suggestion_id: str, point: dict[str, float], run_uids: Sequence[str]) -> None:
        await self._agent.ingest([{**point, ID_KEY: suggestion_id}], run_uids=run_uids)
        await self._report_if_due()

    async def _report_if_due(self) -> None:
        every = self._agent.spec.loop.report_every
        if every and self._agent.record.ingests % every == 0:
            try:
                await self._agent.report()
            except (NotFound, AgentFault) as error:
                if not self._agent.brain.is_there:  # it raised, and that was its end
                    raise
                self._log(error.detail)

    async def _evaluate(self, runs: Sequence[Run], point: dict[str, float], *, id_: str) -> dict[str, float]:
        """Find the outcome of runs: by field, or by the user's function, which may want them in the catalogue."""
        spec, takes = self._agent.spec, self._agent.brain.traits.takes
        if not spec.evaluate:
            outcome = outcomes.by_field(runs[0], spec.outcomes)
        else:
            subjects: list[Any] = list(runs)
            if takes in ("uid", "uids"):
                subjects = [run.uid for run in runs]
                for uid in subjects:
                    await self._archived(uid, spec.timeouts.evaluate)
            subject = subjects if self._takes_every else subjects[0]
            outcome = (await self._agent.evaluate(subject, [{**point, ID_KEY: id_}]))[0]
        outcomes.check_evaluated(outcome, point.keys())
        return outcome

    @property
    def _outcomes_pending(self) -> bool:
        return bool(self._agent.tasks.under_way(Role.OUTCOME) or self._outcome_errors)

    async def _settle_outcomes(self, *, quietly: bool = False) -> None:
        """Wait until no outcome is pending; raise what went wrong with one."""
        await self._agent.tasks.wait(Role.OUTCOME)
        errors, self._outcome_errors = self._outcome_errors, []
        for error in errors:
            if not (quietly and isinstance(error, ServiceError)):
                raise error

    # other runs ---------------------------------------------------------------------------------------------------

    async def take_past_run(self, run: Run, *, named: bool = True) -> None:
        """Ingest a complete run that this loop did not submit, once; a suggestion of this agent keeps its id.

        Parameters
        ----------
        run
            The run.
        named
            Whether somebody named it, by its uid. One that came by itself is passed over when the agent's ``run`` asks
            for other metadata, and refused when it is not the one that counts for its suggestion.

        Raises
        ------
        InvalidInput, AgentFault, DeadlineExceeded, BackendUnavailable
            When the run has no outcome for this agent.
        """
        agent, spec = self._agent, self._agent.spec
        if run.uid in agent.record.ingested_runs or (run.stop or {}).get("exit_status") != "success":
            return
        own = agent.record.suggestions.get(str(run.start.get("agent_suggestion_uid")))
        if own is not None and own.state not in TAKES_LATE_RUN:
            return
        if not named and isinstance(spec.run, dict) and not matches(run.start, spec.run):
            return
        if not named and own is not None:
            self._check_late(run, own)
        point = own.point if own else outcomes.actuators_of(run, spec.actuators)
        outcome = await self._evaluate([run], point, id_=own.id if own else run.uid)
        await agent.ingest([{**point, **outcome, **({ID_KEY: own.id} if own else {})}], run_uids=[run.uid])
        await self._report_if_due()

    def _check_late(self, run: Run, own: Suggestion) -> None:
        """Raise unless a run that comes late is known to be the one that counts for its suggestion."""
        rule, first = self._agent.spec.run, own.run_uid in (None, run.uid)
        if needs_end(rule, every=self._takes_every) or not (first or isinstance(rule, dict)):
            raise InvalidInput(f"it came late, and may not be the one that counts for suggestion {own.id}")

    async def _take_foreign(self, run: Run) -> None:
        """Take a run that came by itself; one that has no outcome for this agent is passed over and logged."""
        try:
            await self.take_past_run(run, named=False)
        except ServiceError as error:
            if self._agent.keeper.restarts.survived(error):
                self._inbox.appendleft(run)  # for the next brain
                return
            passed_over = isinstance(error, InvalidInput | AgentFault | DeadlineExceeded | BackendUnavailable)
            if not passed_over or self._agent.record.state is AgentState.FAILED:
                raise
            self._log(f"run {run.uid} was not ingested: {error.detail}")

    def _log(self, message: str) -> None:
        _log.info("agent %s: %s", self._agent.name, message)
        self._journal.publish(EventKind.LOG, self._agent.name, {"level": "info", "message": message})
