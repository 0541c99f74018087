"""The line of plans for a RunEngine elsewhere that does one plan at a time, as that of a facility.

Each plan is carried out to its fate before the next one begins. While it waits, for the facility is busy or away, the
line says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from agent_service.errors import OutOfBounds, QueueHeld
from agent_service.models import QueueState, QueueStatus
from agent_service.plans.sinks.claimed_plan import PlanRuns
from agent_service.protocols import SERVICE_STOPS, ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from agent_service.protocols import Document, PlanOrder


class LinePlan:
    """A plan from its order to its end. Belongs to the event loop.

    Parameters
    ----------
    order
        The plan; one without a suggestion is a move.
    taken_up
        Whether the service ended meanwhile, so that the plan may have begun, and runs of it may be known elsewhere.

    Attributes
    ----------
    begun
        Whether it may be under way, so that it is taken back no more.
    remote_id
        What the facility calls it, once it has it.
    posting
        What brings it there meanwhile, if anything does.
    post_unsure
        Whether a request to make it there may have arrived, though nobody said so.
    abort_reason
        Why it is to be aborted, if it is.
    news
        Set when there is something new to look at.
    """

    def __init__(self, order: PlanOrder, *, taken_up: bool = False) -> None:
        self.order = order
        self.taken_up = taken_up
        self.runs = PlanRuns(order, says_done=True)
        self.ended: asyncio.Future[PlanResult] = asyncio.get_running_loop().create_future()
        self.begun = taken_up
        self.remote_id: str | None = None
        self.posting: asyncio.Task[None] | None = None
        self.post_unsure = False
        self.abort_reason: str | None = None
        self.news = asyncio.Event()
        self.made_at = time.monotonic()

    def end(self, result: PlanResult) -> None:
        """Say how it ended; what was said first counts."""
        if not self.ended.done():
            self.ended.set_result(result)
        self.news.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until there is something new, or time is up; return whether there is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # `wait_for` of Python 3.11 may swallow a cancellation
                await self.news.wait()
        there, _ = self.news.is_set(), self.news.clear()
        return there


class PlanLine:
    """Plans that wait, and the one that is carried out. Belongs to the event loop.

    Parameters
    ----------
    kind
        The kind of the sink.
    carry_out
        Carries a plan out, and returns how it ended; None when it is not to begin now, see `may_begin`.
    may_begin
        ``may_begin(order)``: whether its agent wants it measured now. Raises `OutOfBounds` when a guardrail has come
        to forbid it.
    has_room
        Whether documents of another run can be taken.
    """

    def __init__(
        self,
        kind: str,
        carry_out: Callable[[LinePlan], Awaitable[PlanResult | None]],
        *,
        may_begin: Callable[[PlanOrder], bool],
        has_room: Callable[[], bool],
    ) -> None:
        self._kind = kind
        self._carry_out = carry_out
        self._may_begin = may_begin
        self._has_room = has_room
        self._plans: list[LinePlan] = []
        self._current: LinePlan | None = None
        self._why: str | None = None
        self._paused: str | None = None
        self._held: str | None = None
        self._closing = False
        self._on_change: Callable[[], None] = lambda: None
        self._look = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()

    @property
    def status(self) -> QueueStatus:
        """What is under way and what waits, from memory."""
        begun = next((plan for plan in self._plans if plan.begun), None)
        waiting = sum(not plan.begun for plan in self._plans)
        state, reason = QueueState.IDLE, None
        if self._held is not None:
            state, reason = QueueState.HELD, self._held
        elif self._paused is not None:
            state, reason = QueueState.PAUSED, self._paused
        elif begun is not None:
            state, reason = QueueState.RUNNING, self._why
        elif self._current is not None and self._why is not None:
            state, reason = QueueState.SUSPENDED, self._why
        current = begun.order.suggestion_id if begun is not None else None
        return QueueStatus(kind=self._kind, state=state, reason=reason, pending=waiting, current=current or None)

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin to carry plans out."""
        self._on_change = on_change
        self._begin(self._work(), name=f"plans at {self._kind}")

    async def stop(self) -> None:
        """End: what waits ends as not begun; what is under way goes on there, and its caller hears no more."""
        self._closing = True
        for plan in list(self._plans):
            if plan.begun:
                plan.ended.cancel()
            else:
                plan.end(PlanResult(ExitStatus.ABORT, SERVICE_STOPS, begun=False))
        for worker in self._workers:
            worker.cancel()
        if self._workers:
            await asyncio.wait(self._workers)
        self._plans.clear()
        self.changed()

    def refuse_held(self) -> None:
        """Raise `QueueHeld` while the queue is held."""
        if self._held is not None:
            raise QueueHeld(f"the plan queue is held: {self._held}; resume the queue first", legal=["resume"])

    async def result(self, plan: LinePlan) -> PlanResult:
        """Put a plan into the line and return how it ended; a caller that is cancelled takes it back if it waits."""
        if self._closing:
            return PlanResult(ExitStatus.ABORT, SERVICE_STOPS, begun=False)
        self.add(plan)
        try:
            return await asyncio.shield(plan.ended)
        finally:
            if not plan.begun:
                plan.end(PlanResult(ExitStatus.ABORT, "taken back", begun=False))
                self.changed()

    def add(self, plan: LinePlan) -> None:
        """Put a plan into the line; one that may be under way is looked after at once.

        One that was taken up while the line is held is to be aborted: who stopped everything meant it.
        """
        if plan.taken_up and self._held is not None:
            plan.abort_reason = self._held
            if not plan.begun:
                plan.end(PlanResult(ExitStatus.ABORT, self._held))
                return
        self._plans.append(plan)
        if plan.begun:
            self._begin(self._carry(plan), name=f"plan {plan.order.suggestion_id}")
        self.changed()

    def say(self, why: str | None) -> None:
        """Say why the plan that is carried out does not go on, None when it does."""
        if why != self._why:
            self._why = why
            self._on_change()

    def turn(self, plan: LinePlan) -> bool:
        """Return whether a plan may begin at this moment; its guardrails are asked. Ends one that they forbid."""
        if plan.ended.done() or not self._open():
            return False
        try:
            return not plan.order.suggestion_id or self._may_begin(plan.order)
        except OutOfBounds as error:
            plan.end(PlanResult(ExitStatus.REJECTED, error.detail))
            return False

    def waiting(self) -> list[LinePlan]:
        """Return the plans that have not begun."""
        return [plan for plan in self._plans if not plan.begun]

    def withdraw(self, plans: Iterable[LinePlan], reason: str, *, begun: bool = False) -> bool:
        """End plans that wait as ``abort``; return whether there was any."""
        there = list(plans)
        for plan in there:
            plan.end(PlanResult(ExitStatus.ABORT, reason, begun=begun))
        self.changed()
        return bool(there)

    def overrule(self, suggestion_id: str) -> None:
        """End the plan of a suggestion that somebody else decided on; one under way goes on, and nobody asks."""
        for plan in self._plans:
            if plan.order.suggestion_id == suggestion_id:
                plan.end(PlanResult(ExitStatus.ABORT, "its fate was decided otherwise", plan.runs.uids))
        self.changed()

    def pause(self, reason: str) -> None:
        """Let nothing more begin; what is under way goes on."""
        if self._held is None:
            self._paused = reason
            self.changed()

    def resume(self) -> None:
        """Let plans begin again, from paused and from held."""
        self._paused = self._held = None
        self.changed()

    def latch(self, reason: str) -> None:
        """Hold the line."""
        self._held, self._paused = reason, None
        self.changed()

    async def abort(self, reason: str, timeout_s: float) -> None:
        """Hold the line, take back what waits, and abort what is under way; returns when that ended, or after a while.

        That it is under way is looked at anew, again and again, until it ends.
        """
        self.latch(reason)
        self.withdraw(self.waiting(), reason, begun=True)
        under_way = [plan for plan in self._plans if plan.begun]
        for plan in under_way:
            plan.abort_reason = reason
            plan.news.set()
        if under_way:
            await asyncio.wait({plan.ended for plan in under_way}, timeout=timeout_s)

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``: those of a plan's runs say how it goes."""
        if name == "start":
            wanted = str(document.get("agent_suggestion_uid"))
            plan = next((plan for plan in self._plans if plan.order.suggestion_id == wanted), None)
        else:
            plan = next((plan for plan in self._plans if run in plan.runs.starts), None)
        if plan is not None and name in ("start", "stop"):
            plan.runs.add(name, document, run)
            plan.news.set()

    def changed(self) -> None:
        """Say that the status changed, and look whether a plan may begin."""
        self._on_change()
        self.look_again()

    def look_again(self) -> None:
        """Look whether a plan may begin."""
        self._look.set()

    def _open(self) -> bool:
        return self._held is None and self._paused is None and not self._closing and self._has_room()

    def _begin(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        worker = asyncio.create_task(work, name=name)
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        while True:
            self._look.clear()
            self._plans = [plan for plan in self._plans if plan.begun or not plan.ended.done()]
            waiting = [plan for plan in self._plans if not plan.begun]
            plan = self._current = next((plan for plan in waiting if self.turn(plan)), None)
            if plan is None:
                self._on_change()
                await self._look.wait()
            else:
                await self._carry(plan)

    async def _carry(self, plan: LinePlan) -> None:
        result = await self._carry_out(plan)
        self._why = None
        if result is not None:
            plan.end(result)
        if plan.ended.done() and plan in self._plans:
            self._plans.remove(plan)
        self.changed()
