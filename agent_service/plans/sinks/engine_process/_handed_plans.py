"""The plans that were handed to the RunEngine's process, by number, until they ended and their fate is written."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import ServiceError
from agent_service.plans.sinks.engine_process._messages import unpacked
from agent_service.protocols import MOVE, ExitStatus, PlanOrder, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent_service.documents.intake import DocumentIntake
    from agent_service.plans.sinks.engine_process._link import EngineLink
    from agent_service.plans.sinks.engine_process._live_plans import SentPlans
    from agent_service.plans.sinks.engine_process._turns import TurnFile

UNWANTED: Final = "nobody waits for it any more"


@dataclass(slots=True, eq=False)
class HandedPlan:
    """A plan on its way: its order, its number in the process, and how it ended."""

    order: PlanOrder
    ended: asyncio.Future[PlanResult]
    number: int = 0
    is_decided: bool = False

    @classmethod
    def of(cls, order: PlanOrder) -> HandedPlan:
        """Return the plan of an order, which has no number yet."""
        return cls(order, asyncio.get_running_loop().create_future())

    @property
    def is_move(self) -> bool:
        """Whether it is a move, which measures nothing."""
        return self.order.plan == MOVE and not self.order.suggestion_id

    @property
    def has_measured(self) -> bool:
        """Whether it has ended well."""
        return (
            self.ended.done()
            and self.ended.exception() is None
            and self.ended.result().exit_status is ExitStatus.SUCCESS
        )

    def settle(self, result: PlanResult | ServiceError) -> None:
        """Say how it ended, unless that was said."""
        if self.ended.done():
            return
        if isinstance(result, ServiceError):
            self.ended.set_exception(result)
            self.ended.exception()  # nobody may be waiting any more
        else:
            self.ended.set_result(result)


class HandedPlans:
    """Knows the plans, and says to the process what becomes of them; belongs to the event loop."""

    def __init__(
        self,
        link: EngineLink,
        turns: TurnFile,
        intake: DocumentIntake,
        sent_plans: SentPlans,
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._sent_plans = sent_plans
        self._link = link
        self._turns = turns
        self._intake = intake
        self._on_change = on_change
        self._plans: dict[int, HandedPlan] = {}
        left = [] if link.hello is None else list(link.hello.orders)
        self._numbers = itertools.count(1 + max((turns.highest, *left)))

    def get(self, number: int) -> HandedPlan | None:
        """Return the plan of a number, None when nobody waits for it any more."""
        return self._plans.get(number)

    @property
    def all(self) -> list[HandedPlan]:
        """All of them."""
        return list(self._plans.values())

    @property
    def waiting(self) -> list[HandedPlan]:
        """Those that have not begun, in their order."""
        last = self._turns.last
        return [plan for _, plan in sorted(self._plans.items()) if plan.number > last and not plan.ended.done()]

    @property
    def under_way(self) -> list[HandedPlan]:
        """Those that have begun and did not end; those that ended a moment ago, unheard, too."""
        last = self._turns.last
        return [plan for plan in self.all if plan.number <= last and not plan.ended.done()]

    async def result(self, order: PlanOrder) -> PlanResult:
        """Hand a plan over and return how it ended; a caller that is cancelled takes it back, if it waits."""
        plan = HandedPlan.of(order)
        self.hand_over(plan)
        self._on_change()
        try:
            return await asyncio.shield(plan.ended)
        except asyncio.CancelledError:
            self.take_back([plan], UNWANTED)
            raise

    async def none_under_way(self, within_s: float) -> None:
        """Wait until those that are under way now have ended, at most so long."""
        if ends := [plan.ended for plan in self.under_way]:
            await asyncio.wait(ends, timeout=within_s)

    def hand_over(self, plan: HandedPlan) -> None:
        """Give a plan its number, and hand it over if there is a process."""
        self._plans.pop(plan.number, None)
        plan.number = next(self._numbers)
        self._plans[plan.number] = plan
        if not self._link.takes_plans:
            return
        try:
            payload = None if plan.is_move else self._sent_plans.pack_for(plan.order)
        except ServiceError as error:
            self.end(plan.number, PlanResult(ExitStatus.FAIL, error.detail, begun=False))
        else:
            self._link.send(("submit", plan.number, plan.order, plan.is_move, payload))

    def take_up(self, number: int, plan: HandedPlan) -> None:
        """Wait for a plan that the process has from before."""
        plan.number = number
        self._plans[number] = plan

    def take_back(self, plans: Iterable[HandedPlan], reason: str) -> bool:
        """Take back those of the plans that wait; return whether there was any."""
        waiting = [plan for plan in plans if plan.number in self._plans and not plan.ended.done()]
        taken = [plan for plan in waiting if self._turns.take_back(plan.number)]
        for plan in taken:
            del self._plans[plan.number]
            self._link.send(("take back", plan.number))
            plan.settle(PlanResult(ExitStatus.ABORT, reason, begun=False))
        if taken:
            self._on_change()
        return bool(taken)

    def disown(self, number: int) -> None:
        """Take back a plan that the process has and nobody here waits for: it would keep those behind it waiting."""
        if self._turns.take_back(number):
            self._link.send(("take back", number))

    def decide(self, suggestion_id: str) -> None:
        """Note that a suggestion's fate is written: the process may forget its plan when that has ended."""
        for plan in [plan for plan in self.all if plan.order.suggestion_id == suggestion_id]:
            plan.is_decided = True
            self._forget(plan)

    def end(self, number: int, result: Any) -> None:
        """Take how a plan ended, as the process says it, and say it behind the plan's documents."""
        plan = self._plans.get(number)
        if plan is None:
            self._link.send(("settled", number))
            return
        ending: PlanResult | ServiceError = result if isinstance(result, PlanResult) else unpacked(result)
        if not (isinstance(ending, PlanResult) and ending.begun):
            plan.is_decided = True

        def settle() -> None:
            plan.settle(ending)
            self._forget(plan)
            self._on_change()

        self._intake.barrier(settle)

    def _forget(self, plan: HandedPlan) -> None:
        if plan.ended.done() and (plan.is_decided or plan.is_move):
            self._plans.pop(plan.number, None)
            self._link.send_later(("settled", plan.number))
