"""The plans of the sink ``claim``: those that wait for somebody, and those that somebody measures.

A claim is a lease. Its holder or documents of its run renew it. When it runs out, nobody is known to measure, and the
suggestion expires.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agent_service.errors import Conflict, OutOfBounds
from agent_service.models import EventKind
from agent_service.models.state_machines import OPEN, SuggestionState
from agent_service.plans.sinks.claimed_plan import ClaimedPlan
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent_service.models import Event
    from agent_service.protocols import Document, PlanOrder

TAKEN_UP_S: Final = 30.0
"""The shortest lease of a plan that was claimed from an earlier life of the service; renewals come every 20 s."""


class Claimed(NamedTuple):
    """A claim on an earlier life of the service, as the journal has it.

    Parameters
    ----------
    by
        Name of the key that made it.
    lease_s, says_done
        As for `Claims.claim`.
    """

    by: str
    lease_s: float = TAKEN_UP_S
    says_done: bool = True


class Claims:
    """Plans by suggestion, each from its order to its end. Belongs to the event loop.

    Parameters
    ----------
    md
        Metadata for every start document.
    is_open
        Whether anything may be claimed now.
    may_begin
        As for `ClaimSink`.
    on_change
        Called when a plan was claimed, began, ended or was given back.
    """

    def __init__(
        self,
        md: Mapping[str, Any],
        *,
        is_open: Callable[[], bool],
        may_begin: Callable[[PlanOrder], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._md = md
        self._is_open = is_open
        self._may_begin = may_begin
        self._on_change = on_change
        self._plans: dict[str, ClaimedPlan] = {}
        self._news: asyncio.Future[None] | None = None
        self._closed = False

    # for the sink -------------------------------------------------------------------------------------------------

    @property
    def claimed(self) -> list[str]:
        """The suggestions that somebody has claimed."""
        return [suggestion_id for suggestion_id, plan in self._plans.items() if plan.lease.held]

    @property
    def waiting(self) -> list[PlanOrder]:
        """The orders that nobody has claimed."""
        return [plan.order for plan in self._plans.values() if not plan.lease.held]

    async def result(self, order: PlanOrder) -> PlanResult:
        """Let a plan be claimed, and return how it ended; a caller that is cancelled takes it back."""
        ended = self.take_up(order, None)
        plan = self._plans[order.suggestion_id]
        self._on_change()
        try:
            return await ended
        finally:
            self._end(plan, None)

    def take_up(self, order: PlanOrder, claimed: Claimed | None) -> asyncio.Future[PlanResult]:
        """Let a plan be claimed; one ``claimed`` from an earlier life of the service may be measured now.

        A claim is written before whoever asked for it hears of it.
        """

        def expire(plan: ClaimedPlan) -> None:
            self._end(plan, _ran_out(plan))
            self._on_change()

        plan = self._plans[order.suggestion_id] = ClaimedPlan(order, expire)
        plan.ended.add_done_callback(lambda _: self._end(plan, None))
        if claimed is None:
            return plan.ended
        plan.taken_up, plan.runs.says_done, plan.lease.by = True, claimed.says_done, claimed.by
        plan.lease.begin(max(claimed.lease_s, TAKEN_UP_S))
        return plan.ended

    def withdraw(self, reason: str, *, agent: str | None = None, only: str | None = None, begun: bool = False) -> bool:
        """End plans that wait as ``abort``: all, those of an agent, or the one for suggestion ``only``.

        Returns whether there was any.
        """
        mine = [order for order in self.waiting if agent in (None, order.agent) and only in (None, order.suggestion_id)]
        for order in mine:
            self._end(self._plans[order.suggestion_id], PlanResult(ExitStatus.ABORT, reason, begun=begun))
        if mine:
            self._on_change()
        return bool(mine)

    def apply(self, fact: Event) -> None:
        """Look at a committed fact: one about a suggestion may end its plan, one about an agent may let it begin."""
        if fact.kind is EventKind.SUGGESTION_STATE and SuggestionState(str(fact.data["state"])) not in OPEN:
            if (plan := self._plans.get(str(fact.data["id"]))) is not None:
                self._end(plan, PlanResult(ExitStatus.ABORT, "its fate was decided otherwise", plan.runs.uids))
                self._on_change()
        elif fact.kind in (EventKind.AGENT_STATE, EventKind.CONFIG):
            self.look_again()

    def close(self, reason: str) -> None:
        """End all plans as ``abort``, for good; a run that is under way goes on elsewhere."""
        self._closed = True
        for plan in list(self._plans.values()):
            self._end(plan, PlanResult(ExitStatus.ABORT, reason, plan.runs.uids))

    def look_again(self) -> None:
        """Let who waits for a plan look whether there is one now."""
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``: those of a plan's runs renew its lease, and may end it.

        From its first start document on a plan is claimed, whoever measures it, and cannot be given back.
        """
        if name == "start":
            plan = self._plans.get(str(document.get("agent_suggestion_uid")))
            if plan is None or run in plan.runs.starts:
                return
            plan.runs.add(name, document, run)
            plan.lease.begin()
            self._on_change()
            return
        plan = next((plan for plan in self._plans.values() if run in plan.runs.starts), None)
        if plan is None:
            return
        plan.lease.extend()
        plan.runs.add(name, document, run)
        if name == "stop":
            if (result := plan.runs.result()) is not None:
                self._end(plan, result)
            self._on_change()

    # for who measures ---------------------------------------------------------------------------------------------

    async def claim(  # noqa: PLR0913 - what a claim says, by name
        self,
        agent: str | None,
        *,
        by: str = "",
        lease_s: float,
        wait_s: float,
        over: Callable[[], bool],
        fits: Callable[[PlanOrder], bool] = lambda order: True,
        says_done: bool = False,
        session: str | None = None,
    ) -> PlanOrder | None:
        """Claim the plan that has waited longest, or wait for one.

        Parameters
        ----------
        agent
            Only this agent's plans.
        by
            Name of the key that claims it.
        lease_s
            For how long without a renewal or a document of its run, in seconds.
        wait_s
            How long to wait for a plan, in seconds.
        says_done
            Whether `done` will be called when the plan has ended; else its stop documents tell, as far as they can.
        over
            Whether there is nothing to wait for any more; looked at with each change.
        fits
            Whether who claims can measure an order.
        session
            Which session claims, where only those may; see `SessionClaims`.

        Returns
        -------
        PlanOrder or None
            None when there is none to claim now: none waits, or the queue is paused or held.
        """
        clock = asyncio.get_running_loop()
        deadline = clock.time() + wait_s
        while (plan := self._next(agent, fits)) is None:
            left = deadline - clock.time()
            if left <= 0 or self._closed or over():
                return None
            if self._news is None:
                self._news = clock.create_future()
            await asyncio.wait({self._news}, timeout=left)
        plan.lease.by, plan.runs.says_done = by, says_done
        plan.lease.begin(lease_s)
        self._on_change()
        return plan.order

    def holder(self, suggestion_id: str) -> str | None:
        """Return the name of the key that holds a claim on a suggestion now, or None."""
        plan = self._plans.get(suggestion_id)
        return (plan.lease.by or None) if plan is not None and plan.claimed else None

    def metadata(self, order: PlanOrder) -> dict[str, Any]:
        """Return what belongs into the start document of an order's run."""
        return {**self._md, **order.md, "agent_name": order.agent, "agent_suggestion_uid": order.suggestion_id}

    def renew(self, suggestion_id: str, lease_s: float | None = None) -> ClaimedPlan:
        """Begin a claim's lease anew, as long as before or ``lease_s`` seconds, and return what is claimed.

        Raises
        ------
        Conflict
            When nobody holds a claim on it: it expired, was measured, or was never claimed.
        """
        plan = self._held(suggestion_id)
        plan.lease.begin(lease_s)
        return plan

    def release(self, suggestion_id: str, *, how: str, reason: str) -> None:
        """End a claim without an outcome.

        Parameters
        ----------
        suggestion_id
            The suggestion.
        how
            ``fail`` or ``abort``, as a `PlanResult` says it; ``unused`` gives it back to be claimed again.
        reason
            Why, in one line.

        Raises
        ------
        Conflict
            When nobody holds a claim on it, or it is to be given back though its run began.
        """
        plan = self._held(suggestion_id)
        if how != "unused":
            self._end(plan, PlanResult(ExitStatus(how), reason, plan.runs.uids))
        elif plan.runs.starts:
            raise Conflict(f"the run of suggestion {suggestion_id} began, so it cannot be claimed again; fail it")
        else:
            plan.lease.end()
        self._on_change()

    def done(self, suggestion_id: str, made: int | None) -> None:
        """Take the word of who measures that a plan has ended; the documents of its runs may come after it.

        Parameters
        ----------
        suggestion_id
            The suggestion.
        made
            How many runs the plan made; None: those that began so far, one at least.

        Raises
        ------
        Conflict
            When nobody holds a claim on it.
        """
        plan = self._held(suggestion_id)
        if made == 0:
            self._end(plan, PlanResult(ExitStatus.FAIL, "the plan made no run"))
        else:
            plan.runs.made = max(made or 1, len(plan.runs.starts))
            plan.lease.begin()
            if (result := plan.runs.result()) is not None:
                self._end(plan, result)
            elif plan.taken_up and len(plan.runs.starts) < (made or 1):  # its first runs were heard before
                self._end(plan, PlanResult(ExitStatus.SUCCESS))  # and whoever waits for its runs has those
        self._on_change()

    # how ----------------------------------------------------------------------------------------------------------

    def _next(self, agent: str | None, fits: Callable[[PlanOrder], bool] = lambda order: True) -> ClaimedPlan | None:
        if self._closed or not self._is_open():
            return None
        for plan in list(self._plans.values()):
            if plan.lease.held or plan.ended.done() or agent not in (None, plan.order.agent) or not fits(plan.order):
                continue
            try:
                if self._may_begin(plan.order):
                    return plan
            except OutOfBounds as error:
                self._end(plan, PlanResult(ExitStatus.REJECTED, error.detail))
        return None

    def _held(self, suggestion_id: str) -> ClaimedPlan:
        plan = self._plans.get(suggestion_id)
        if plan is None or not plan.claimed:
            raise Conflict(
                f"nobody holds a claim on suggestion {suggestion_id} now: it was measured, it expired, or it was never "
                "claimed; measure it no further"
            )
        return plan

    def _end(self, plan: ClaimedPlan, result: PlanResult | None) -> None:
        """Let go of a plan that has ended; without a result, nobody waits for it any more."""
        if result is not None and not plan.ended.done():
            plan.ended.set_result(result)
        plan.lease.end()
        if self._plans.get(plan.order.suggestion_id) is plan:
            del self._plans[plan.order.suggestion_id]


def _ran_out(plan: ClaimedPlan) -> PlanResult:
    within = f"{plan.lease.duration_s:g} s"
    silent = f"nothing was heard of its run for {within}"
    if plan.runs.all_stopped:
        silent = f"nobody said within {within} that its plan has ended (how = done)"
    return PlanResult(ExitStatus.EXPIRED, f"its claim ran out: {silent}", plan.runs.uids)
