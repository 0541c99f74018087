"""Sink ``blueapi``: one plan at a time for the RunEngine of a beamline's blueapi, among the tasks of people.

A plan under way cannot be paused: blueapi 1.21 tells a pause as the plan's end, and answers nothing while a plan that
it resumed runs. An abort ends our own task, and nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable, Conflict, ServiceError
from agent_service.models import EventKind
from agent_service.models.state_machines import OPEN, SuggestionState
from agent_service.plans.sinks.blueapi.line import LinePlan, PlanLine
from agent_service.plans.sinks.blueapi.peer import OUR_PLANS, BlueapiPeer
from agent_service.plans.sinks.blueapi.remote_task import RemoteTask, adopt
from agent_service.protocols import MOVE, ExitStatus, MeasuredBy, PlanOrder, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.documents.intake import DocumentIntake
    from agent_service.models import AgentSpec, Event, Point, QueueStatus
    from agent_service.plans.sinks.blueapi.rest import BlueapiRest
    from agent_service.protocols import Document

_ABORT_S: Final = 5.0
"""How long `BlueapiSink.abort` waits for the plan to end; it is being aborted in any case."""

_LOOK_S: Final = 5.0
"""How long `BlueapiSink.reattach` tries to ask before it leaves that for later."""

_TIDY_S: Final = 2.0
"""How long the end of the sink may take to delete tasks at blueapi that are not to begin."""

_PAUSED: Final = "paused by request; nothing further begins. A plan under way goes on: blueapi could not resume it"

_log = logging.getLogger(__name__)


class BlueapiSink:
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
    may_begin
        As for `PlanLine`.
    """

    kind = "blueapi"
    takes_ahead = True
    plans_end_here = False
    reattaches = True
    measured_by = MeasuredBy.FACILITY
    devices = None

    def __init__(  # noqa: PLR0913 - what there is to know, by name
        self,
        rest: BlueapiRest,
        peer: BlueapiPeer,
        md: Mapping[str, Any],
        intake: DocumentIntake,
        *,
        session: str,
        may_begin: Callable[[PlanOrder], bool],
    ) -> None:
        self.moves = False
        self._rest = rest
        self._peer = peer
        self._md = {key: value for key, value in md.items() if key != "scan_id"}
        self._intake = intake
        self._session = session
        self._line = PlanLine(self.kind, self._carry_out, may_begin=may_begin, has_room=self._has_room)
        self._looking: asyncio.Task[None] | None = None
        self._tidying: set[asyncio.Task[None]] = set()

    @property
    def status(self) -> QueueStatus:
        """What is under way and what waits, from memory."""
        return self._line.status

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; ``on_change`` is called on this event loop. Whether blueapi is there is found out meanwhile."""
        self._line.start(on_change)
        self._looking = asyncio.create_task(self._look_for_moves(), name="look at blueapi")

    async def stop(self, timeout_s: float) -> None:
        """End: what waits is taken back; a plan under way at blueapi goes on, and is taken up at the next start."""
        if self._looking is not None:
            self._looking.cancel()
        await self._line.stop()
        if self._tidying:
            await asyncio.wait(self._tidying, timeout=min(timeout_s, _TIDY_S))
        await self._rest.close()

    def own_name(self, name: str) -> str:
        """Return what a device calls itself, where ``name`` is the way to it; the name itself while nobody can tell."""
        try:
            return self._peer.own_name(name)
        except BackendUnavailable as error:
            _log.warning("what %s calls itself is not known: %s", name, error.detail)
            return name

    def check(self, spec: AgentSpec) -> None:
        """Raise `UnknownPlan` or `UnknownDevice` unless blueapi has them. While it is away nothing is refused."""
        try:
            self._peer.check(spec)
        except BackendUnavailable as error:
            _log.warning("agent %s is not checked against what blueapi has: %s", spec.name, error.detail)

    async def run(self, order: PlanOrder) -> PlanResult:
        """Queue a plan and return when it ended there; one that waits is withdrawn when the caller is cancelled.

        Raises
        ------
        QueueHeld
            When the queue is held.
        """
        self._line.refuse_held()
        if (wrong := _not_finite(order.point)) is not None:
            return wrong
        plan = self._tidied(LinePlan(order))
        plan.posting = asyncio.create_task(self._post(plan), name=f"post {order.suggestion_id}")
        return await self._line.result(plan)

    async def move(self, point: Point, *, agent: str = "") -> PlanResult:
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
        self._line.refuse_held()
        if (wrong := _not_finite(point)) is not None:
            return wrong
        plan = self._tidied(LinePlan(PlanOrder("", agent, point, plan=MOVE, actuators=tuple(point), sensors=())))
        began_at = time.monotonic()
        result = await self._line.result(plan)
        return replace(result, took_s=time.monotonic() - began_at) if plan.begun else result

    async def reattach(self, orders: Sequence[PlanOrder]) -> dict[str, asyncio.Future[PlanResult]]:
        """Take up these orders: tasks of theirs that began are followed, and those that wait there may begin.

        While blueapi cannot be asked they are looked for again and again. Of one that it does not know nobody can say
        whether it was measured, so it is not measured again.
        """
        plans = [self._tidied(LinePlan(order, taken_up=True)) for order in orders]
        try:
            async with asyncio.timeout(_LOOK_S):
                tasks = await self._rest.tasks() if plans else []
        except (BackendUnavailable, TimeoutError) as error:
            _log.warning("blueapi cannot be asked what became of %d plans: %s", len(plans), error)
        else:
            for plan in plans:
                for spare in adopt(plan, tasks):
                    self._forget(spare.id)
        for plan in plans:
            self._line.add(plan)
        return {plan.order.suggestion_id: plan.ended for plan in plans}

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``: those of a plan's runs are a hint that it is over, and say how."""
        self._line.observe(name, document, run)

    def apply(self, fact: Event) -> None:
        """Look at a committed fact: one about a suggestion may end its plan, one about an agent may let it begin."""
        if fact.kind is EventKind.SUGGESTION_STATE and SuggestionState(str(fact.data["state"])) not in OPEN:
            self._line.overrule(str(fact.data["id"]))
        elif fact.kind in (EventKind.AGENT_STATE, EventKind.CONFIG):
            self._line.look_again()

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that wait, or the one for suggestion ``only``; they end as ``abort``."""
        waiting = [plan for plan in self._line.waiting() if plan.order.agent == agent]
        return self._line.withdraw([plan for plan in waiting if only in (None, plan.order.suggestion_id)], reason)

    async def pause(self) -> None:
        """Let nothing more begin; a plan under way goes on to its end."""
        self._line.pause(_PAUSED)

    async def resume(self) -> None:
        """Let plans begin again, from paused and from held."""
        self._line.resume()

    async def abort(self, reason: str) -> None:
        """Latch ``held``, take back what waits, and abort our task under way; returns when it ended, or after 5 s."""
        await self._line.abort(reason, _ABORT_S)

    def latch(self, reason: str) -> None:
        """Hold the queue from the start on, as it was held when the service ended."""
        self._line.latch(reason)

    async def _carry_out(self, plan: LinePlan) -> PlanResult | None:
        return await self._remote(plan).carry_out()

    async def _post(self, plan: LinePlan) -> None:
        """Bring a plan to blueapi before its turn; what fails now is tried, or told, when that has come."""
        with contextlib.suppress(ServiceError):
            await self._remote(plan).post()
        if plan.ended.done():
            self._tidy(plan)

    def _remote(self, plan: LinePlan) -> RemoteTask:
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
            say=self._line.say,
        )

    def _tidied(self, plan: LinePlan) -> LinePlan:
        """Let a plan's task be deleted at blueapi if it ends before it began: it would wait there for a person."""
        plan.ended.add_done_callback(lambda _: self._tidy(plan))
        return plan

    def _tidy(self, plan: LinePlan) -> None:
        if not plan.begun and plan.remote_id is not None:
            self._forget(plan.remote_id)

    def _forget(self, task_id: str) -> None:
        async def forget() -> None:
            with contextlib.suppress(ServiceError):
                await self._rest.delete(task_id)

        tidying = asyncio.create_task(forget(), name=f"forget {task_id}")
        self._tidying.add(tidying)
        tidying.add_done_callback(self._tidying.discard)

    def _has_room(self) -> bool:
        """Return whether documents of another run can be taken; while they cannot, look again when they can."""
        if self._intake.full:
            self._intake.when_room(self._line.look_again)
        return not self._intake.full

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


def _not_finite(point: Point) -> PlanResult | None:
    wrong = [name for name, position in point.items() if not math.isfinite(position)]
    if not wrong:
        return None
    reason = f"the position of {wrong[0]!r} is not a finite number, so nothing moves"
    return PlanResult(ExitStatus.FAIL, reason, begun=False)
