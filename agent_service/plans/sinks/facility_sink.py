"""What the sinks for a RunEngine elsewhere have in common: a line of plans that people steer."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agent_service.models.values import is_settable
from agent_service.plans.sinks.facility_plan import FacilityPlan
from agent_service.plans.sinks.hold import Hold
from agent_service.plans.sinks.plan_line import PlanLine
from agent_service.protocols import MOVE, ExitStatus, MeasuredBy, PlanOrder, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.models import Event, Point, QueueStatus
    from agent_service.protocols import Devices, Document

P = TypeVar("P", bound=FacilityPlan)


class FacilitySink(Generic[P]):
    """The part of a `PlanSink` that does not depend on who runs the plans. Belongs to the service's event loop.

    Parameters
    ----------
    may_begin
        ``may_begin(order)``: whether its agent wants it measured now. Raises `OutOfBounds` when a guardrail has come
        to forbid it.
    permit
        ``permit(order)``: called when a move's turn has come. Raises `OutOfBounds` when that is forbidden by now.
    moved
        ``moved(order)``: called when a move has begun, before the next plan's turn.
    """

    plans_end_here = False
    reattaches = True
    measured_by = MeasuredBy.FACILITY
    paused_says = "paused by request"

    def __init__(
        self,
        may_begin: Callable[[PlanOrder], bool],
        permit: Callable[[PlanOrder], None],
        moved: Callable[[PlanOrder], None],
    ) -> None:
        self.devices: Devices | None = None
        self._may_begin = may_begin
        self._permit = permit
        self._moved = moved
        self._last_move: P | None = None
        self._hold = Hold()
        self._line: PlanLine[P] = PlanLine(self._hold, self._wanted)
        self._line.on_change = self._changed
        self._told: QueueStatus | None = None
        self._on_change: Callable[[], None] = lambda: None

    @property
    def status(self) -> QueueStatus:
        """What is under way and what waits, from memory."""
        raise NotImplementedError

    async def run(self, order: PlanOrder) -> PlanResult:
        """Queue a plan and return when it ended there.

        A caller that is cancelled takes back what has not begun; what has goes on.

        Raises
        ------
        QueueHeld
            When the queue is held.
        """
        self._hold.refuse_held()
        return not_finite(order.point) or await self._line.result(self._plan_of(order, order.suggestion_id))

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``: those of a plan's runs say how it goes."""
        self._line.observe(name, document, run)

    def apply(self, fact: Event) -> None:
        """Look at a committed fact: one about a suggestion may end its plan; any may let one begin."""
        self._line.apply(fact)

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that have not begun, or the one for suggestion ``only``; they end as ``abort``."""
        return self._line.withdraw_of(agent, reason, only=only)

    async def pause(self) -> None:
        """Let nothing more begin; what becomes of a plan under way depends on who runs it."""
        self._hold.pause(self.paused_says)
        self._steered()

    async def resume(self) -> None:
        """Let plans begin again, from paused and from held."""
        self._hold.resume()
        self._steered()

    async def abort(self, reason: str) -> None:
        """Latch ``held``, take back what waits, and abort our plan under way; returns when it ended, or after 5 s."""
        self.latch(reason)
        await self._line.abort(reason)

    def latch(self, reason: str) -> None:
        """Hold the queue, as it was held when the service ended."""
        self._hold.latch(reason)
        self._steered()

    def _plan_of(self, order: PlanOrder, key: str) -> P:
        """Return the plan of an order."""
        raise NotImplementedError

    async def _move(self, point: Point, agent: str, *, despite_conditions: bool) -> PlanResult:
        """Have actuators moved by the plan of `MOVE`, and return when it ended."""
        about: dict[str, Any] = {"plan": MOVE, "actuators": tuple(point), "sensors": ()}
        order = PlanOrder("", agent, point, **about, despite_conditions=despite_conditions)
        if (wrong := not_finite(point)) is not None:
            return wrong
        plan = self._plan_of(order, str(uuid.uuid4()))
        began_at = time.monotonic()
        result = await self._line.result(plan)
        return replace(result, begun=plan.begun, took_s=time.monotonic() - began_at if plan.begun else None)

    def _wanted(self, plan: P) -> bool:
        """Return whether a plan is wanted now; raises `OutOfBounds`."""
        if self._last_move is not None and self._last_move.begun:
            self._moved(self._last_move.order)
        self._last_move = None
        if plan.is_move:
            self._permit(plan.order)
            self._last_move = plan
            return True
        return self._may_begin(plan.order)

    def _steered(self) -> None:
        """Do what is to be done at once when people paused, resumed or held the queue."""
        self._changed()

    def _changed(self) -> None:
        """Let whoever follows know of a status that is new."""
        if (status := self.status) != self._told:
            self._told = status
            self._on_change()


async def catalogue_of_nobody() -> None:
    """Ask no catalogue: there is none."""


def not_finite(point: Point) -> PlanResult | None:
    """Return the failure of a plan whose point is none, else None."""
    wrong = [name for name, position in point.items() if not is_settable(position)]
    if not wrong:
        return None
    reason = f"the position of {wrong[0]!r} is not a finite number, so nothing moves"
    return PlanResult(ExitStatus.FAIL, reason, begun=False)
