"""Sink ``blueapi``: one plan at a time for the RunEngine of a beamline's blueapi, among the tasks of people.

A plan under way cannot be paused: blueapi 1.21 reports a pause as the plan's end, and does not answer while a resumed
plan runs. An abort ends only our own task.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable, Conflict, ServiceError
from agent_service.models import QueueStatus
from agent_service.plans.sinks.blueapi.peer import OUR_PLANS, BlueapiPeer
from agent_service.plans.sinks.blueapi.remote_task import RemoteTask
from agent_service.plans.sinks.blueapi.spare_tasks import SpareTasks
from agent_service.plans.sinks.blueapi.task_plan import TaskPlan
from agent_service.plans.sinks.blueapi.turns import Turns
from agent_service.plans.sinks.facility_sink import FacilitySink, catalogue_of_nobody
from agent_service.plans.sinks.unknown_fate import UnknownFates
from agent_service.protocols import MOVE, PlanOrder, PlanResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from agent_service.documents.intake import DocumentIntake
    from agent_service.models import AgentSpec, DeviceInfo, Point
    from agent_service.plans.sinks.blueapi.rest import BlueapiRest

_LOOK_S: Final = 5.0
"""How long `BlueapiSink.reattach` tries to ask before it leaves that for later."""

_log = logging.getLogger(__name__)


class BlueapiSink(FacilitySink[TaskPlan]):
    """Plans for a blueapi; a `PlanSink`. Belongs to the service's event loop.

    Parameters
    ----------
    rest, peer
        The blueapi: its tasks, and what it has.
    session
        The instrument session to measure in, as blueapi asks for with each task.
    md
        Metadata for every start document.
    intake
        Where documents go: nothing begins while it is full.
    may_begin, permit, moved
        As for `FacilitySink`.
    look_up
        As for `UnknownFates`.
    """

    kind = "blueapi"
    takes_ahead = True
    paused_says = "paused by request; nothing further begins. A plan under way goes on: blueapi could not resume it"

    def __init__(  # noqa: PLR0913 - what there is to know, by name
        self,
        rest: BlueapiRest,
        peer: BlueapiPeer,
        md: Mapping[str, Any],
        intake: DocumentIntake,
        *,
        session: str,
        may_begin: Callable[[PlanOrder], bool],
        permit: Callable[[PlanOrder], None] = lambda order: None,
        moved: Callable[[PlanOrder], None] = lambda order: None,
        look_up: Callable[[], Awaitable[None]] = catalogue_of_nobody,
    ) -> None:
        super().__init__(may_begin, permit, moved)
        self.moves = False
        self._rest = rest
        self._peer = peer
        self._md = {key: value for key, value in md.items() if key != "scan_id"}
        self._intake = intake
        self._session = session
        self._fates = UnknownFates("blueapi", look_up=look_up, latch=self.latch)
        self._turns = Turns(self._line, self._carry_out, self._changed)
        self._line.on_change = self._steered
        self._spare = SpareTasks(rest)
        self._looking: asyncio.Task[None] | None = None

    @property
    def status(self) -> QueueStatus:
        """What is under way and what waits, from memory."""
        state, reason = self._hold.state or self._turns.state
        begun = next((plan.order.suggestion_id for plan in self._line.begun), None)
        waiting = len(self._line.waiting)
        return QueueStatus(kind=self.kind, state=state, reason=reason, pending=waiting, current=begun or None)

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; ``on_change`` is called on this event loop. Whether blueapi is there is found out meanwhile."""
        self._on_change = on_change
        self._turns.start()
        self._looking = asyncio.create_task(self._look_for_moves(), name="look at blueapi")

    async def stop(self, timeout_s: float) -> None:
        """End: what waits is taken back; a plan under way at blueapi goes on, and is taken up at the next start."""
        if self._looking is not None:
            self._looking.cancel()
        self._hold.closing = True
        self._line.close()
        await self._turns.stop()
        await self._spare.stop(timeout_s)
        await self._rest.close()

    def own_name(self, name: str) -> str:
        """Return what a device calls itself, where ``name`` is the way to it; the name itself while nobody can tell."""
        try:
            return self._peer.own_name(name)
        except BackendUnavailable as error:
            _log.warning("what %s calls itself is not known: %s", name, error.detail)
            return name

    def list_devices(self) -> list[DeviceInfo]:
        """Return the devices of blueapi; blocks, and raises `BackendUnavailable` while it is away."""
        return self._peer.list_devices()

    def check(self, spec: AgentSpec) -> None:
        """Raise `UnknownPlan` or `UnknownDevice` unless blueapi has them. While it is away nothing is refused."""
        try:
            self._peer.check(spec)
        except BackendUnavailable as error:
            _log.warning("agent %s is not checked against what blueapi has: %s", spec.name, error.detail)

    async def move(self, point: Point, *, agent: str = "", despite_conditions: bool = False) -> PlanResult:
        """Queue a move, where blueapi has our plan of one, and return when it ended.

        Raises
        ------
        Conflict
            It has none.
        QueueHeld
            When the queue is held.
        """
        if not self.moves:
            where = f"add module {OUR_PLANS} to env.sources of blueapi's configuration, and start this service again"
            raise Conflict(f"this service moves nothing itself, and blueapi has no plan {MOVE!r}; {where}")
        self._hold.refuse_held()
        return await self._move(point, agent, despite_conditions=despite_conditions)

    async def reattach(self, orders: Sequence[PlanOrder]) -> dict[str, asyncio.Future[PlanResult]]:
        """Take up these orders: tasks of theirs that began are followed, and those that wait there may begin.

        While blueapi cannot be asked they are looked for again and again. Of one that it does not know nobody can say
        whether it was measured, so it is not measured again.
        """
        plans = [self._spare.tidied(TaskPlan(order, taken_up=True)) for order in orders]
        try:
            async with asyncio.timeout(_LOOK_S):
                tasks = await self._rest.tasks() if plans else []
        except (BackendUnavailable, TimeoutError) as error:
            _log.warning("blueapi cannot be asked what became of %d plans: %s", len(plans), error)
        else:
            for plan in plans:
                for spare in plan.adopt(tasks):
                    self._spare.delete(spare.id)
        for plan in plans:
            self._line.add(plan)
            if plan.begun and not plan.ended.done():
                self._turns.attend(plan)
        return {plan.key: plan.ended for plan in plans}

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that have not begun, or the one for suggestion ``only``; they end as ``abort``.

        Where all are taken back, one that may have begun ends so too when it turns out that it never did.
        """
        for plan in self._line.begun if only is None else ():
            if plan.order.agent == agent:
                plan.taken_back = reason
        return super().withdraw(agent, reason, only=only)

    def _plan_of(self, order: PlanOrder, key: str) -> TaskPlan:
        plan = self._spare.tidied(TaskPlan(order, key=key))
        if order.suggestion_id:
            plan.posting = asyncio.create_task(self._post(plan), name=f"post {key}")
        return plan

    async def _carry_out(self, plan: TaskPlan) -> PlanResult | None:
        return await self._remote(plan).carry_out()

    async def _post(self, plan: TaskPlan) -> None:
        """Bring a plan to blueapi before its turn; what fails now is tried, or told, when that has come."""
        with contextlib.suppress(ServiceError):
            await self._remote(plan).post()
        if plan.ended.done():
            self._spare.tidy(plan)

    def _remote(self, plan: TaskPlan) -> RemoteTask:
        order = plan.order
        if order.suggestion_id:
            identity = {"agent_name": order.agent, "agent_suggestion_uid": order.suggestion_id}
            params: dict[str, Any] = {
                "suggestions": [dict(order.point)],
                "actuators": list(order.actuators),
                "sensors": list(order.sensors),
                "md": {**self._md, **order.md, **identity},
            }
        else:
            params = {"point": dict(order.point), "devices": list(order.actuators), "md": {"agent_name": order.agent}}
        return RemoteTask(
            self._rest,
            plan,
            name=order.plan,
            params=params,
            session=self._session,
            turn=lambda: self._line.turn(plan),
            wanted=lambda: self._line.wanted(plan),
            say=self._turns.say,
            fates=self._fates,
        )

    def _wanted(self, plan: TaskPlan) -> bool:
        """Return whether a plan is wanted now, and documents of another run can be taken; looks again when they can."""
        if self._intake.full:
            self._intake.when_room(self._turns.look_again)
            return False
        return super()._wanted(plan)

    def _steered(self) -> None:
        self._turns.look_again()
        self._changed()

    async def _look_for_moves(self) -> None:
        """Find out whether blueapi has our plan of a move, as soon as it can be asked."""
        while True:
            try:
                self.moves = await asyncio.to_thread(lambda: self._peer.can_move)
            except BackendUnavailable as error:
                _log.warning("%s", error.detail)
                await asyncio.sleep(_LOOK_S)
            else:
                return
