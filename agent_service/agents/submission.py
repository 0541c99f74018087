"""Plans in the sink: from `submitted` until the run is complete, or the plan is withdrawn.

`Submission` is one plan; `Lookahead` keeps an agent's next plan in the sink while one is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, Self

from agent_service.agents import guardrail_checks
from agent_service.agents.conditions import spans_of
from agent_service.agents.tasks import Role
from agent_service.documents.choice import Made
from agent_service.errors import IllegalTransition, QueueHeld
from agent_service.models.state_machines import AgentState, SuggestionState
from agent_service.protocols import PlanOrder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_service.agents.agent import HostedAgent
    from agent_service.documents.dispatch import Expectation, RunDispatcher
    from agent_service.documents.runs import Run
    from agent_service.models import Suggestion
    from agent_service.protocols import PlanResult, PlanSink

TAKEN_BACK: Final = "taken back before it began"

STOP_DOCUMENT_TIMEOUT_S: Final = 30.0
"""How long the documents of a run may follow its plan."""

_FOLLOWS_WITHIN_S: Final = 2.0
"""How long the documents may follow before the agent says that it waits for them."""


class Submission:
    """A suggestion whose plan is in the sink; belongs to the event loop.

    Use `begin` to make one, and `close` it in any case. ``plan`` is how its plan will end, where the sink has it
    already; None hands it over. ``waits_again`` says that its plan was taken back for a condition, so that it is
    approved again and no failure.
    """

    def __init__(
        self,
        agent: HostedAgent,
        suggestion: Suggestion,
        expected: Expectation,
        sink: PlanSink,
        plan: Awaitable[PlanResult] | None = None,
    ) -> None:
        self.suggestion = suggestion
        self.started = expected.started
        self.waits_again = False
        self._agent = agent
        self._expected = expected
        self._sink = sink
        self._ended_at = 0.0
        self._late: asyncio.TimerHandle | None = None
        ended = sink.run(order_of(agent, suggestion)) if plan is None else _ended(plan)
        self.plan: asyncio.Task[PlanResult] = agent.tasks.begin(Role.PLAN, ended)

    @classmethod
    async def begin(
        cls, agent: HostedAgent, suggestion: Suggestion, *, sink: PlanSink, dispatcher: RunDispatcher
    ) -> Self | None:
        """Write that the suggestion is submitted, then hand its plan to the sink.

        Returns None when the agent was paused meanwhile: nothing was handed over, and the suggestion is approved again.
        Raises `IllegalTransition` when somebody else decided its fate: it was rejected, or ingested by hand;
        `BackendUnavailable` when it could not be written, and nothing was handed over.
        """
        with contextlib.ExitStack() as undo:
            # before the plan can run, so that no document comes too early
            expected = undo.enter_context(dispatcher.expect(suggestion.id))
            forgotten: dict[str, Any] = {"reason": None} if suggestion.reason else {}  # why it was taken back before
            await agent.facts.advance(suggestion.id, SuggestionState.SUBMITTED, **forgotten)
            # whoever paused it was told that nothing more is submitted
            if agent.record.state is AgentState.PAUSED or agent.conditions.unmet:
                await agent.facts.advance(suggestion.id, SuggestionState.APPROVED, reason=TAKEN_BACK)
                return None
            submission = cls(agent, suggestion, expected, sink)
            undo.callback(submission.plan.cancel)
            await asyncio.sleep(0)  # the plan is in the sink from here on
            undo.pop_all()
            return submission

    @property
    def open(self) -> bool:
        """Whether nobody decided its fate meanwhile, by ingesting it by hand for example."""
        return self._agent.record.suggestion(self.suggestion.id).state in (
            SuggestionState.SUBMITTED,
            SuggestionState.RUNNING,
        )

    @property
    def whole(self) -> list[Run]:
        """Its runs that are here from their start to their stop document."""
        return [run for run in self._expected.begun.values() if run.complete]

    @property
    def span(self) -> tuple[float, float]:
        """When its plan was under way until now, in seconds since 1970: since its first run, or its submission."""
        runs = tuple(self._expected.begun.values())
        submitted = self._agent.record.suggestion(self.suggestion.id).updated_at.timestamp()
        return min((start for start, _ in spans_of(runs)), default=submitted), time.time()

    async def note_start(self) -> None:
        """Write that it is running, once its start document is here."""
        if self.started.done() and self._agent.record.suggestion(self.suggestion.id).state is SuggestionState.SUBMITTED:
            await self._agent.facts.advance(self.suggestion.id, SuggestionState.RUNNING, run_uid=self.started.result())

    async def result(self) -> PlanResult:
        """Return how the plan ended, after what it said of its start; `QueueHeld` when the sink did not take it."""
        ended = await self.plan
        self._ended_at = time.monotonic()
        self._agent.unheard = self._unheard
        self._late = asyncio.get_running_loop().call_later(_FOLLOWS_WITHIN_S, self._agent.mark_changed)
        if not self.started.done() and ended.run_uids:
            await asyncio.wait({self.started}, timeout=STOP_DOCUMENT_TIMEOUT_S)
        await self.note_start()
        return ended

    async def made(self, result: PlanResult) -> Made:
        """Return the runs that its plan made, those of ``result`` complete; `TimeoutError` when one does not end.

        Where ``result`` names them they are all: what came besides bears the id too, and a person made it.
        """
        while True:
            try:
                await asyncio.wait_for(self._expected.complete(result.run_uids), STOP_DOCUMENT_TIMEOUT_S)
                break
            except TimeoutError:
                if not self._expected.may_come:
                    raise
        begun = self._expected.begun
        return Made(tuple(run for uid, run in begun.items() if not result.run_uids or uid in result.run_uids))

    def take_back(self, reason: str) -> bool:
        """Take the plan out of the sink, if it has not begun; return whether that was so."""
        return self._sink.withdraw(self._agent.name, reason, only=self.suggestion.id)

    def _unheard(self) -> str | None:
        """Return why its plan, which has ended, is still waited for; a moment after the end nothing is late yet."""
        if time.monotonic() < self._ended_at + _FOLLOWS_WITHIN_S:
            return None
        why = self._expected.may_come
        return f"its plan has ended, and the documents of its run did not come yet{why and f': {why}'}"

    def close(self) -> None:
        """Wait for nothing more; a plan that waits is withdrawn."""
        if self._late is not None:
            self._late.cancel()
        if self._agent.unheard == self._unheard:
            self._agent.unheard = None
            self._agent.mark_changed()
        self.plan.cancel()
        self._expected.__exit__(None, None, None)


def order_of(agent: HostedAgent, suggestion: Suggestion) -> PlanOrder:
    """Return the order of a suggestion's plan."""
    spec = agent.spec
    return PlanOrder(
        suggestion_id=suggestion.id,
        agent=spec.name,
        point=suggestion.point,
        plan=spec.plan,
        actuators=tuple(spec.actuators),
        sensors=tuple(spec.sensors),
        run=spec.run,
        tag=spec.tag,
        every=agent.brain.traits.takes in ("runs", "uids"),
    )


async def _ended(plan: Awaitable[PlanResult]) -> PlanResult:
    return await plan


class Lookahead:
    """The plan of an agent's next suggestion, handed to the sink while one is under way; belongs to the event loop.

    ``may_begin(under_way)`` says whether another would be measured whatever becomes of those under way.
    """

    def __init__(
        self,
        agent: HostedAgent,
        *,
        may_begin: Callable[[int], bool],
        begin: Callable[[Suggestion], Awaitable[Submission | None]],
    ) -> None:
        self._agent = agent
        self._may_begin = may_begin
        self._begin = begin
        self._submission: Submission | None = None

    @property
    def news(self) -> list[asyncio.Task[PlanResult]]:
        """What to wait for: a future that is done when the plan was taken back; nothing while there is none."""
        return [self._submission.plan] if self._submission is not None and not self._submission.plan.done() else []

    async def look(self, *, under_way: int) -> None:
        """Hand the next approved suggestion over; or take it back, when it is not to be measured any more."""
        submission = self._submission
        if submission is None:
            await self._hand_over(under_way)
        elif not self._may_begin(under_way) or self._holds_no_more(submission.suggestion) or not submission.open:
            if submission.take_back(TAKEN_BACK):
                await submission.plan
            await self._let_go(submission)
            if self._submission is None and not submission.open:  # decided by hand: another one takes its place
                await self._hand_over(under_way)
        else:
            await self._let_go(submission)

    async def take(self) -> Submission | None:
        """Return the plan that is next, to be seen through by who asks; None when there is none to be measured."""
        if self._submission is not None:
            await self.look(under_way=0)
        submission, self._submission = self._submission, None
        return submission

    def drop(self) -> None:
        """Take the plan back at the end of the agent's loop; the fact is written behind."""
        submission, self._submission = self._submission, None
        if submission is None:
            return
        if submission.take_back(TAKEN_BACK) and submission.open:
            self._agent.facts.post_approved(submission.suggestion.id, "the agent's loop ended")
        submission.close()

    async def _hand_over(self, under_way: int) -> None:
        approved = self._agent.record.open_in(SuggestionState.APPROVED)
        if not approved or not self._may_begin(under_way) or self._forbids(approved[0]):
            return
        with contextlib.suppress(IllegalTransition):  # rejected, or ingested by hand, meanwhile
            self._submission = await self._begin(approved[0])

    def _forbids(self, suggestion: Suggestion) -> bool:
        agent = self._agent
        if agent.guardrails.approvals.has_expired(suggestion.id):
            return True
        return bool(agent.guardrails.why_not(suggestion.point) or agent.conditions.stale(suggestion, agent.record))

    def _holds_no_more(self, suggestion: Suggestion) -> bool:
        """Whether the bounds have come to forbid what is in the sink, or its approval has expired.

        It counts towards the other rules already.
        """
        rails = self._agent.guardrails
        return rails.approvals.has_expired(suggestion.id) or bool(guardrail_checks.why_not(suggestion.point, rails.now))

    async def _let_go(self, submission: Submission) -> None:
        """Let its suggestion be approved again if its plan ended and never began."""
        if not submission.plan.done():
            return
        held = isinstance(submission.plan.exception(), QueueHeld)
        if not held and (submission.plan.exception() or submission.plan.result().begun):
            return
        self._submission = None
        submission.close()
        if submission.open:
            reason = "the queue was held" if held else submission.plan.result().reason
            await self._agent.facts.advance(submission.suggestion.id, SuggestionState.APPROVED, reason=reason)
