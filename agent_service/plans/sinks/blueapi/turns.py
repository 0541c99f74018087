"""Turns at a blueapi: one plan of the line after the other is carried out to its fate before the next one begins.

While it waits, for the facility is busy or away, it is said why.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent_service.models import QueueState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from agent_service.plans.sinks.blueapi.task_plan import TaskPlan
    from agent_service.plans.sinks.plan_line import PlanLine
    from agent_service.protocols import PlanResult


class Turns:
    """Carries plans out, in tasks of its own. Belongs to the event loop.

    Parameters
    ----------
    line
        The plans.
    carry_out
        Carries a plan out, and returns how it ended; None when it is not to begin now.
    on_change
        Called when what a status says may have changed.
    """

    def __init__(
        self,
        line: PlanLine[TaskPlan],
        carry_out: Callable[[TaskPlan], Awaitable[PlanResult | None]],
        on_change: Callable[[], None],
    ) -> None:
        self._line = line
        self._carry_out = carry_out
        self._on_change = on_change
        self._current: TaskPlan | None = None
        self._why: str | None = None
        self._look = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> tuple[QueueState, str | None]:
        """The state of the queue as its plans make it, and why they do not go on."""
        if self._line.begun:
            return QueueState.RUNNING, self._why
        if self._current is not None and self._why is not None:
            return QueueState.SUSPENDED, self._why
        return QueueState.IDLE, None

    def start(self) -> None:
        """Begin to carry plans out."""
        self._begin(self._work(), name="plans at blueapi")

    async def stop(self) -> None:
        """End; what is under way goes on there."""
        for worker in self._workers:
            worker.cancel()
        if self._workers:
            await asyncio.wait(self._workers)

    def say(self, why: str | None) -> None:
        """Say why the plan that is carried out does not go on, None when it does."""
        if why != self._why:
            self._why = why
            self._on_change()

    def look_again(self) -> None:
        """Look whether a plan may begin."""
        self._look.set()

    def attend(self, plan: TaskPlan) -> None:
        """Look after a plan at once that may be under way there."""
        self._begin(self._carry(plan), name=f"plan {plan.key}")

    def _begin(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        worker = asyncio.create_task(work, name=name)
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        while True:
            self._look.clear()
            plan = self._current = self._line.next()
            if plan is None:
                self._on_change()
                await self._look.wait()
            else:
                await self._carry(plan)

    async def _carry(self, plan: TaskPlan) -> None:
        result = await self._carry_out(plan)
        self._why = None
        if result is not None:
            plan.end(result)
        if plan.ended.done():
            self._line.forget(plan)
        self._on_change()
        self._look.set()
