"""The measurement of suggestions: from an approved one to a plan that ended, with the next one in the sink ahead."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from agent_service.agents import guardrail_checks
from agent_service.agents.approvals import EXPIRED
from agent_service.agents.conditions import spans_of
from agent_service.agents.expired_approvals import take_back_expired
from agent_service.agents.submission import Lookahead, Submission
from agent_service.documents.choice import needs_end
from agent_service.errors import IllegalTransition, OutOfBounds, QueueHeld
from agent_service.models.state_machines import ALIVE, AgentState, SuggestionState
from agent_service.protocols import SERVICE_STOPS, ExitStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent_service.agents.agent import HostedAgent
    from agent_service.agents.ingestion import RunIngestion
    from agent_service.documents.dispatch import RunDispatcher
    from agent_service.models import Suggestion
    from agent_service.protocols import PlanResult, PlanSink

_S = SuggestionState
_RESTS: Final = ALIVE - {AgentState.RUNNING}
_FATES: Final = {ExitStatus.EXPIRED: _S.EXPIRED, ExitStatus.REJECTED: _S.REJECTED}


class Measurement:
    """Brings approved suggestions of one agent through the sink, one after the other; belongs to the event loop."""

    def __init__(
        self,
        agent: HostedAgent,
        *,
        sink: PlanSink,
        dispatcher: RunDispatcher,
        ingestion: RunIngestion,
        ask_ahead: Callable[[], None],
    ) -> None:
        self.stopping = False  # nothing more is to be handed over
        self.draining = False  # the service stops: what did not begin is measured after its next start
        self.in_flight = False  # it waits for a plan to end
        self._taken_up: deque[Submission] = deque()
        self._agent = agent
        self._sink = sink
        self._ingestion = ingestion
        self._ask_ahead = ask_ahead
        self._submit = partial(Submission.begin, agent, sink=sink, dispatcher=dispatcher)
        self._ahead = Lookahead(agent, may_begin=self._may_hand_ahead, begin=self._submit)

    async def allowed(self, suggestion: Suggestion) -> bool:
        """Return whether the guardrails allow a suggestion; reject it if not."""
        try:
            await self._agent.guardrails.check(suggestion)
        except OutOfBounds as error:
            await self._agent.fail_suggestion(suggestion, _S.REJECTED, error.detail, fault=True)
            return False
        return True

    async def measure(self, suggestion: Suggestion) -> None:
        """Submit an approved suggestion and wait until its plan ended; its outcome is found in the background."""
        with contextlib.suppress(IllegalTransition):  # somebody else decided: rejected, or ingested by hand
            if await self.allowed(suggestion) and (submission := await self._submit(suggestion)) is not None:
                await self._await_run(submission)

    def take_up(self, submissions: Iterable[Submission]) -> None:
        """Await these first: the sink has had their plans since before the service ended."""
        self._taken_up.extend(submissions)

    @property
    def taken_up(self) -> set[str]:
        """The suggestions of `take_up` whose plans are still to be awaited."""
        return {submission.suggestion.id for submission in self._taken_up}

    async def finish_submitted(self) -> bool:
        """Do what `measure` does with the next plan that is in the sink already; return whether there was one."""
        submission = self._taken_up.popleft() if self._taken_up else await self._ahead.take()
        if submission is not None:
            await self._await_run(submission)
        return submission is not None

    def let_go(self) -> None:
        """Await no plan any more, at the end of the agent's loop; those that wait in the sink are taken back."""
        self._ahead.drop()
        while self._taken_up:
            self._taken_up.popleft().close()

    async def _await_run(self, submission: Submission) -> None:
        """Wait until a plan in the sink ended, and close its suggestion, or begin to find its outcome."""
        agent, suggestion, ingestion = self._agent, submission.suggestion, self._ingestion
        self.in_flight = True
        try:
            if self.stopping:
                submission.take_back("not measured: the agent was stopped")
            await self._attend(submission, submission.plan, submission.started)
            await submission.note_start()
            agent.beam_time.plan_began(lambda: submission.span)
            await self._attend(submission, submission.plan)
            result = await submission.result()
            agent.facts.run_ended(suggestion.id)
            if result.exit_status is not ExitStatus.SUCCESS:
                await self._close(submission, result)
                return
            made = await submission.made(result)
            await submission.note_start()  # documents may follow the word that the plan has ended
            agent.beam_time.plan_ended(spans_of(made.runs))
            if len(made.runs) > 1 or needs_end(agent.spec.run, every=ingestion.evaluation.takes_every_run):
                await agent.facts.note_runs(suggestion.id, [run.uid for run in made.runs])
        except QueueHeld:  # it fell between our look and the submission
            await agent.facts.advance(suggestion.id, _S.APPROVED, reason="the queue was held")
            return
        except TimeoutError:
            why = "the plan ended, but the stop document of its run did not come; the run counts if it comes yet"
            await ingestion.fail(suggestion, why, fate=_S.EXPIRED)
            return
        finally:
            self.in_flight = False
            agent.beam_time.plan_ended()
            submission.close()
        if runs := await ingestion.chosen(suggestion, made):
            ingestion.begin(suggestion, runs)

    async def _attend(self, submission: Submission, *futures: asyncio.Future[Any]) -> None:
        """Wait until one of them is done; meanwhile ingest others' runs, ask for points, and hand the next plan ahead.

        A plan may wait for hours, so whatever changes is looked at. What has not begun is taken back while a condition
        is not met, and when its approval has expired.
        """
        while not any(future.done() for future in futures):
            changed = self._agent.changed()  # taken before the look, so that no change is missed
            approvals = self._agent.guardrails.approvals
            unmet = self._agent.conditions.unmet or (approvals.has_expired(submission.suggestion.id) and EXPIRED)
            if unmet and not submission.started.done() and submission.take_back(unmet):
                submission.waits_again = True
                return
            await take_back_expired(self._agent)
            if self._agent.record.state is AgentState.RUNNING:
                self._ingestion.ingest_beside()
            self._ask_ahead()
            if self._sink.takes_ahead:
                await self._ahead.look(under_way=1 + len(self._taken_up))
            if not any(future.done() for future in futures):
                news = {*futures, *self._ahead.news, changed}
                await asyncio.wait(news, timeout=approvals.next_expiry_s(), return_when=asyncio.FIRST_COMPLETED)

    def _may_hand_ahead(self, under_way: int) -> bool:
        """Whether the next one would be measured whatever becomes of the ``under_way`` plans before it."""
        record, limits = self._agent.record, self._agent.spec.loop
        if self.stopping or record.state is not AgentState.RUNNING or self._agent.conditions.unmet:
            return False
        if guardrail_checks.one_by_one(self._agent.guardrails.now):
            return False
        done = record.done + self._ingestion.coming + under_way
        failures = record.failures_in_row + under_way
        return failures < limits.max_failures and (limits.max_runs is None or done < limits.max_runs)

    async def _close(self, submission: Submission, result: PlanResult) -> None:
        """Close a suggestion that was not measured; what a person asked for is no failure of the agent's."""
        suggestion, record = submission.suggestion, self._agent.record
        taken_back = result.exit_status is ExitStatus.ABORT and not result.begun
        waits = record.state in _RESTS or bool(self._agent.conditions.unmet)
        again = taken_back and (self.draining or submission.waits_again or waits)
        if again and record.suggestion(suggestion.id).state is _S.SUBMITTED:
            reason = SERVICE_STOPS if self.draining else result.reason
            await self._agent.facts.advance(suggestion.id, _S.APPROVED, reason=reason)
            return
        by_itself = result.exit_status is ExitStatus.FAIL or not result.asked
        if by_itself and result.begun and await self._ingestion.void(suggestion, [submission.span]):
            return
        fate = _FATES.get(result.exit_status, _S.FAILED)
        asked = result.exit_status is ExitStatus.ABORT and result.asked
        fault = not (fate is _S.EXPIRED or asked)
        why = result.reason or result.exit_status
        await self._ingestion.fail(suggestion, why, fault=fault, fate=fate, traceback=result.traceback)
        if fate is _S.EXPIRED:  # nobody said that the plan has ended; what it measured whole counts, as what comes late
            for run in submission.whole:
                self._ingestion.put(run)
