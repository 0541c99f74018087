"""The line of plans for a RunEngine elsewhere: those that wait for their turn, and those that may be under way there.

Whoever speaks to the facility takes the next one from here, and says when it is over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from agent_service.errors import OutOfBounds
from agent_service.models import EventKind
from agent_service.models.state_machines import OPEN, SuggestionState
from agent_service.plans.sinks.facility_plan import FacilityPlan
from agent_service.protocols import SERVICE_STOPS, ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent_service.models import Event
    from agent_service.plans.sinks.hold import Hold
    from agent_service.protocols import Document

P = TypeVar("P", bound=FacilityPlan)

_ABORT_S = 5.0
"""How long `PlanLine.abort` waits for plans to end; they are held and being aborted in any case."""


class PlanLine(Generic[P]):
    """Plans in the order in which they came. Belongs to the event loop.

    Parameters
    ----------
    hold
        What keeps all of them.
    may_begin
        ``may_begin(plan)``: whether it is wanted now. Raises `OutOfBounds` when a guardrail has come to forbid it.

    Attributes
    ----------
    on_change
        Called when what a status says may have changed, and when a plan may have come to its turn.
    """

    def __init__(self, hold: Hold, may_begin: Callable[[P], bool]) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._hold = hold
        self._may_begin = may_begin
        self._plans: list[P] = []

    @property
    def waiting(self) -> list[P]:
        """The plans that have not begun, the first one first."""
        return [plan for plan in self._plans if not plan.begun and not plan.ended.done()]

    @property
    def begun(self) -> list[P]:
        """The plans that have begun and of which the facility was not heard to the end."""
        return [plan for plan in self._plans if plan.begun]

    @property
    def under_way(self) -> list[P]:
        """Those of them that may run still."""
        return [plan for plan in self._plans if plan.under_way]

    def add(self, plan: P) -> None:
        """Put a plan into the line.

        One that was taken up while the queue is held is to be aborted: who stopped everything meant it.
        """
        if plan.taken_up and self._hold.held is not None:
            plan.abort_reason = self._hold.held
            if not plan.begun:
                plan.end(PlanResult(ExitStatus.ABORT, self._hold.held))
                return
        self._plans.append(plan)
        self.on_change()

    async def result(self, plan: P) -> PlanResult:
        """Put a plan into the line and return how it ended; a caller that is cancelled takes it back if it waits."""
        if self._hold.closing:
            return PlanResult(ExitStatus.ABORT, SERVICE_STOPS, begun=False)
        self.add(plan)
        try:
            return await asyncio.shield(plan.ended)
        finally:
            if not plan.begun:
                self.withdraw([plan], "taken back")

    def next(self) -> P | None:
        """Return the first plan whose turn it is."""
        return next((plan for plan in self.waiting if self.turn(plan)), None)

    def turn(self, plan: P) -> bool:
        """Return whether a plan may begin at this moment; its guardrails are asked. Ends one that they forbid."""
        if plan.ended.done() or self._hold.why is not None:
            return False
        try:
            return self._may_begin(plan)
        except OutOfBounds as error:
            plan.end(PlanResult(ExitStatus.REJECTED, error.detail))
            self.forget(plan)
            return False

    def wanted(self, plan: P) -> bool:
        """Return whether a plan may begin at this moment, as `turn` does, and end none."""
        try:
            return not plan.ended.done() and self._hold.why is None and self._may_begin(plan)
        except OutOfBounds:
            return False

    def forget(self, plan: P) -> None:
        """Look after a plan no more: it is over."""
        if plan in self._plans:
            self._plans.remove(plan)
            self.on_change()

    def withdraw(self, plans: Iterable[P], reason: str, *, begun: bool = False) -> bool:
        """End plans that wait as ``abort``; return whether there was any."""
        there = [plan for plan in plans if plan in self._plans and not plan.begun]
        for plan in there:
            self._plans.remove(plan)
            plan.end(PlanResult(ExitStatus.ABORT, reason, begun=begun))
        self.on_change()
        return bool(there)

    def withdraw_of(self, agent: str, reason: str, *, only: str | None) -> bool:
        """End those of an agent's plans that wait, or the one for suggestion ``only``; return whether there was any."""
        mine = [plan for plan in self.waiting if plan.order.agent == agent and only in (None, plan.key)]
        return self.withdraw(mine, reason)

    def close(self) -> None:
        """End all for good: what waits as not begun; what is under way goes on there, and its caller hears no more."""
        self.withdraw(self.waiting, SERVICE_STOPS)
        for plan in self._plans:
            plan.ended.cancel()
        self._plans.clear()

    async def abort(self, reason: str) -> None:
        """Take back what waits, and let what is under way be aborted; returns when that ended, or after 5 s."""
        self.withdraw(self.waiting, reason, begun=True)
        under_way = self.under_way
        for plan in under_way:
            plan.abort_reason = reason
            plan.news.set()
        self.on_change()
        if under_way:
            await asyncio.wait({plan.ended for plan in under_way}, timeout=_ABORT_S)  # of an overruled one: at once

    def observe(self, name: str, document: Document, run: str) -> P | None:
        """Look at a document of any ``run``; return the plan that it tells something new of."""
        if name == "start":
            wanted = str(document.get("agent_suggestion_uid"))
            plan = next((plan for plan in self._plans if plan.key == wanted), None)
        elif name == "stop":
            plan = next((plan for plan in self._plans if run in plan.runs.starts), None)
        else:
            return None
        if plan is not None:
            plan.runs.add(name, document, run)
            plan.news.set()
        return plan

    def apply(self, fact: Event) -> None:
        """Look at a committed fact: one about a suggestion may end its plan; any may let one begin."""
        if fact.kind is EventKind.SUGGESTION_STATE and SuggestionState(str(fact.data["state"])) not in OPEN:
            for plan in [plan for plan in self._plans if plan.key == str(fact.data["id"])]:
                self._overrule(plan)
        elif self.waiting:
            self.on_change()

    def _overrule(self, plan: P) -> None:
        """End a plan whose fate somebody else decided; one under way goes on, and nobody asks for its end."""
        if plan.ended.done():
            return
        plan.overruled = plan.begun
        plan.end(PlanResult(ExitStatus.ABORT, "its fate was decided otherwise", plan.runs.uids))
        if not plan.begun:
            self.forget(plan)
