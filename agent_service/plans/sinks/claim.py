"""Sink ``claim``: plans wait here until a plan in somebody's own RunEngine claims them; this service moves nothing.

An abort takes back what waits, and nothing can be claimed until somebody resumes; what was claimed is measured in
somebody else's RunEngine and goes on there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.errors import BackendUnavailable, Conflict
from agent_service.models import QueueState, QueueStatus
from agent_service.models.values import text_of
from agent_service.plans.sinks.claim_leases import Claims
from agent_service.plans.sinks.hold import Hold
from agent_service.protocols import SERVICE_STOPS, ExitStatus, MeasuredBy, PlanResult

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.documents.intake import DocumentIntake
    from agent_service.models import AgentSpec, DeviceInfo, Event, Point
    from agent_service.plans.sinks.claim_leases import Claimed
    from agent_service.protocols import Devices, Document, PlanOrder


class ClaimSink:
    """Plans for others to run; a `PlanSink`. Belongs to the service's event loop.

    Parameters
    ----------
    md
        Metadata for every start document; a claim carries it.
    may_begin
        ``may_begin(order)``: whether its agent wants it measured now. Raises `OutOfBounds` when a guardrail has come
        to forbid it: the order may have waited for long.
    devices
        Those of this process, if it is the one that measures; None where only whoever claims has them.
    claimed
        ``claimed(order)``: who claimed it from an earlier life of the service, as the journal says; None: nobody did.
    intake
        Where documents go: nothing can be claimed while it is full.

    Attributes
    ----------
    claims
        The plans, as who measures claims them.
    """

    kind = "claim"
    takes_ahead = False  # whoever claims the next could begin it before the last is ingested
    plans_end_here = False
    measured_by = MeasuredBy.CLAIMER
    moves = False

    def __init__(
        self,
        md: Mapping[str, Any],
        intake: DocumentIntake,
        *,
        may_begin: Callable[[PlanOrder], bool],
        devices: Devices | None = None,
        claimed: Callable[[PlanOrder], Claimed | None] = lambda order: None,
    ) -> None:
        self.devices = devices
        self.reattaches = devices is None  # what this process measures itself ends with it
        self._claimed = claimed
        self._intake = intake
        self.claims = Claims(
            {key: value for key, value in md.items() if key != "scan_id"},
            is_open=lambda: self._hold.why is None and self._has_room(),
            may_begin=may_begin,
            on_change=self._changed,
        )
        self._hold = Hold()
        self._on_change: Callable[[], None] = lambda: None

    @property
    def status(self) -> QueueStatus:
        """What is claimed and what waits, from memory."""
        claimed = self.claims.claimed
        state, reason = QueueState.RUNNING if claimed else QueueState.IDLE, None
        if (steered := self._hold.state) is not None:
            state, reason = steered
        current = claimed[0] if claimed else None
        return QueueStatus(
            kind=self.kind, state=state, reason=reason, pending=len(self.claims.waiting), current=current
        )

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; ``on_change`` is called on this event loop."""
        self._on_change = on_change

    async def stop(self, timeout_s: float) -> None:
        """End: what nobody claimed ends as ``abort``; what is claimed elsewhere goes on there, and is found again."""
        self._hold.closing = True
        if self.reattaches:
            self.claims.withdraw(SERVICE_STOPS)
        else:
            self.claims.close(SERVICE_STOPS)
        self._changed()

    def own_name(self, name: str) -> str:
        """Return the name itself: only whoever measures has the devices."""
        return name

    def list_devices(self) -> list[DeviceInfo]:
        """Raise `BackendUnavailable`: this service cannot know them."""
        raise BackendUnavailable("only whoever claims plans has the devices, so this service cannot list them")

    def check(self, spec: AgentSpec) -> None:
        """Accept every plan and device: whoever claims has them, and this service cannot know them."""

    async def run(self, order: PlanOrder) -> PlanResult:
        """Let a plan be claimed, and return when its run ended, its claim was released, or its lease ran out.

        The last is a result ``expired``. A caller that is cancelled takes it back.

        Raises
        ------
        QueueHeld
            When the queue is held.
        """
        self._hold.refuse_held()
        if self._hold.closing:
            return PlanResult(ExitStatus.ABORT, SERVICE_STOPS, begun=False)
        return await self.claims.result(order)

    async def move(self, point: Point, *, agent: str = "", despite_conditions: bool = False) -> PlanResult:
        """Raise `Conflict`: only a plan in the RunEngine of who claims can move anything."""
        where = ", ".join(f"{name}, {text_of(position)}" for name, position in point.items())
        raise Conflict(f"this service moves nothing itself (sink claim); in your RunEngine: RE(bps.mv({where}))")

    async def pause(self) -> None:
        """Let nothing be claimed; what is claimed goes on."""
        self._hold.pause()
        self._changed()

    async def resume(self) -> None:
        """Let plans be claimed again, from paused and from held."""
        self._hold.resume()
        self._changed()

    async def abort(self, reason: str) -> None:
        """Latch ``held`` and take back what waits; what is claimed is measured elsewhere, and is not ours to stop."""
        self.latch(reason)
        self.claims.withdraw(reason, begun=True)
        self._changed()

    def latch(self, reason: str) -> None:
        """Hold the queue from the start on, as it was held when the service ended."""
        self._hold.latch(reason)
        self._changed()

    async def reattach(self, orders: Sequence[PlanOrder]) -> dict[str, asyncio.Future[PlanResult]]:
        """Take up the plans of an earlier life of the service: those claimed are measured, the others wait again.

        A run that this process made itself has ended with it.
        """
        if not self.reattaches:
            return {}
        return {order.suggestion_id: self.claims.take_up(order, self._claimed(order)) for order in orders}

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``: those of a claimed plan's runs renew its lease, and may end the plan."""
        self.claims.observe(name, document, run)

    def apply(self, fact: Event) -> None:
        """Look at a committed fact: one about a suggestion may end its plan, one about an agent may let it begin."""
        self.claims.apply(fact)

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that nobody claimed, or the one for suggestion ``only``; they end as ``abort``."""
        return self.claims.withdraw(reason, agent=agent, only=only)

    def _has_room(self) -> bool:
        """Return whether documents of another run can be taken; while they cannot, look again when they can."""
        if self._intake.full:
            self._intake.when_room(self.claims.look_again)
        return not self._intake.full

    def _changed(self) -> None:
        self._on_change()
        self.claims.look_again()
