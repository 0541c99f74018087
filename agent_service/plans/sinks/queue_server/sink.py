"""Sink ``queueserver``: plans for a facility's queue server, which owns the RunEngine."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable, Conflict, QueueHeld
from agent_service.models import QueueState, QueueStatus
from agent_service.models.state_machines import OPEN
from agent_service.plans.sinks.queue_server.allowed import IMPORT_LINE, MOVES, Allowed, wrong_in
from agent_service.plans.sinks.queue_server.clients import Silent
from agent_service.plans.sinks.queue_server.driver import QueueDriver
from agent_service.plans.sinks.queue_server.queued_plan import ID, QueuedPlan, item_of, move_item
from agent_service.protocols import MOVE, SERVICE_STOPS, ExitStatus, MeasuredBy, PlanOrder, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import AgentSpec, Event, Point
    from agent_service.plans.sinks.queue_server.clients import Client
    from agent_service.protocols import Devices, Document

_ABORT_S: Final = 5.0
"""How long `QueueServerSink.abort` waits for the plan to end; it is held and being aborted in any case."""

_CHECK_S: Final = 15.0

_log = logging.getLogger(__name__)


class QueueServerSink:
    """Plans for a queue server; a `PlanSink`. Belongs to the service's event loop, but for `check`.

    Parameters
    ----------
    client
        What speaks to its manager.
    md
        Metadata for every start document.
    poll_s
        How often the manager is asked while there is something to do, in seconds.
    may_begin
        As for `ClaimSink`.
    permit
        ``permit(order)``: called when a move's turn has come. Raises `OutOfBounds` when a guardrail forbids it.
    """

    kind = "queueserver"
    takes_ahead = False
    plans_end_here = False
    reattaches = True
    measured_by = MeasuredBy.FACILITY
    moves = True
    sessions = False  # whether an item measures many suggestions

    def __init__(
        self,
        client: Client,
        md: Mapping[str, Any],
        *,
        poll_s: float = 0.25,
        may_begin: Callable[[PlanOrder], bool],
        permit: Callable[[PlanOrder], None] = lambda order: None,
    ) -> None:
        self.devices: Devices | None = None
        self._md = {key: value for key, value in md.items() if key != "scan_id"}
        self._may_begin = may_begin
        self._permit = permit
        self._driver = QueueDriver(
            client,
            poll_s=poll_s,
            may_begin=self._wanted,
            on_change=self._changed,
            latch=self.latch,
            keeps_back=self._keeps_back,
            take_up=self._take_up,
        )
        self._allowed = Allowed(self._driver.manager)
        self._held: str | None = None
        self._paused = False
        self._told: QueueStatus | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits, and what the manager says, from memory."""
        driver, manager = self._driver, self._driver.manager
        ours = next((plan for plan in driver.sent.values() if plan.under_way), None)
        state, reason = QueueState.IDLE if ours is None else QueueState.RUNNING, None
        if self._held is not None:
            state, reason = QueueState.HELD, self._held
            if manager.trouble:
                reason = f"{reason}; {manager.trouble}"
        elif self._paused:
            state, reason = QueueState.PAUSED, "paused by request"
        elif manager.trouble is not None:
            state, reason = QueueState.SUSPENDED, manager.trouble
        elif ours is not None and ours.running and manager.state == "paused":
            state, reason = QueueState.PAUSED, "somebody paused our plan at the queue server"
        elif ours is None and driver.waiting and driver.why is not None:
            state, reason = QueueState.SUSPENDED, driver.why
        return QueueStatus(
            kind=self.kind,
            state=state,
            reason=reason,
            pending=len(driver.waiting),
            current=None if ours is None else ours.order.suggestion_id or None,
            can_destroy=manager.worker_died,
        )

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; ``on_change`` is called on this event loop."""
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._driver.start()

    async def stop(self, timeout_s: float) -> None:
        """End: what waits ends as ``abort``; what was sent goes on at the queue server, and is found again."""
        self._driver.closed = SERVICE_STOPS
        await self._driver.stop()
        self._end_waiting(SERVICE_STOPS, begun=False)

    def own_name(self, name: str) -> str:
        """Return the name itself: the queue server knows its devices by it."""
        return name

    def check(self, spec: AgentSpec) -> None:
        """Raise `UnknownPlan` or `UnknownDevice` unless the queue server allows them; not in the event loop.

        While it does not answer nothing is known, and everything is accepted: it is asked again at each plan's turn.
        """
        if self._loop is None:
            return
        asked = asyncio.run_coroutine_threadsafe(self._allowed.lists(), self._loop)
        try:
            lists = asked.result(_CHECK_S)
        except (Silent, TimeoutError) as error:
            asked.cancel()
            _log.warning("agent %s is taken unchecked: %s", spec.name, error)
            return
        for _, error in wrong_in(spec, lists, sessions=self.sessions):
            raise error

    async def run(self, order: PlanOrder) -> PlanResult:
        """Have a plan run, and return when it ended; see `driver` for how that is known.

        A caller that is cancelled takes back what was not sent; what was sent goes on.

        Raises
        ------
        QueueHeld
            When the queue is held.
        """
        return await self._queued(QueuedPlan(order, item_of(order, self._md, user_md=order.md), order.suggestion_id))

    async def move(self, point: Point, *, agent: str = "") -> PlanResult:
        """Have actuators moved to ``point`` for an agent by a plan without a run, and return when it ended.

        Raises
        ------
        QueueHeld
            When the queue is held.
        Conflict
            The queue server allows no plan that moves.
        BackendUnavailable
            It does not answer.
        """
        self._refuse_held()
        try:
            plan = (await self._allowed.lists()).move
        except Silent as silent:
            raise BackendUnavailable(f"{silent}, so nothing was moved") from None
        if plan is None:
            raise Conflict(
                f"the queue server allows none of the plans {' and '.join(MOVES)}, so nothing can be moved there; its "
                f"profile needs the line: {IMPORT_LINE}"
            )
        order = PlanOrder("", agent, point, plan=MOVE, actuators=tuple(point), sensors=())
        key = str(uuid.uuid4())
        began_at = time.monotonic()
        queued = QueuedPlan(order, move_item(order, plan, key), key)
        result = await self._queued(queued)
        took_s = time.monotonic() - began_at if queued.sent else None
        return PlanResult(result.exit_status, result.reason, begun=queued.sent, took_s=took_s)

    async def reattach(self, orders: Sequence[PlanOrder]) -> dict[str, asyncio.Future[PlanResult]]:
        """Look for the plans of an earlier life of the service, by their ids: each may have been sent.

        While the queue is held they are to be aborted: who stopped everything meant them, and the service was killed.
        """
        held = self._held
        plans = [QueuedPlan(order, {}, order.suggestion_id, sent=True, abort_reason=held) for order in orders]
        for plan in plans:
            self._driver.add(plan)
        return {plan.key: plan.ended for plan in plans}

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``: the stop of a plan's only run is its end."""
        if name == "start":
            if (plan := self._driver.sent.get(str(document.get(ID)))) is not None:
                plan.runs.add(name, document, run)
            return
        if name != "stop":
            return
        for plan in self._driver.sent.values():
            if run in plan.runs.starts:
                plan.runs.add(name, document, run)
                result = plan.runs.result()
                if result is not None and result.exit_status is ExitStatus.SUCCESS:  # else the history says why
                    plan.end(result)
                self._driver.look_again()
                self._changed()
                return

    def apply(self, fact: Event) -> None:
        """Look at a committed fact: one about a suggestion may end its plan; any may let one begin."""
        if "state" in fact.data and "id" in fact.data and str(fact.data["state"]) not in OPEN:
            key = str(fact.data["id"])
            for plan in [*self._driver.waiting, *self._driver.sent.values()]:
                if plan.key == key and not plan.ended.done():
                    plan.overruled = not self._driver.take_back(plan)
                    plan.end(PlanResult(ExitStatus.ABORT, "its fate was decided otherwise", plan.runs.uids))
        if self._driver.waiting:
            self._driver.look_again()

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that were not sent, or the one for suggestion ``only``; they end as ``abort``."""
        mine = [plan for plan in self._driver.waiting if plan.order.agent == agent and only in (None, plan.key)]
        for plan in mine:
            self._driver.take_back(plan)
            plan.end(PlanResult(ExitStatus.ABORT, reason, begun=False))
        self._changed()
        return bool(mine)

    async def pause(self) -> None:
        """Pause: our plan that runs pauses at its next checkpoint, and no other of ours begins; others' go on."""
        if self._held is None:
            self._paused = self._driver.steering.paused = True
            self._driver.steering.resume = False
            self._settle()

    async def resume(self) -> None:
        """Resume from paused or held; our plan goes on, if it is paused."""
        self._paused, self._held = False, None
        self._driver.steering.paused, self._driver.steering.resume = False, True
        self._settle()

    async def abort(self, reason: str) -> None:
        """Latch ``held``, take back what waits, and abort our own plan; returns when it ended, or after 5 s."""
        self.latch(reason)
        self._end_waiting(reason, begun=True)
        under_way = [plan for plan in self._driver.sent.values() if plan.under_way]
        for plan in under_way:
            plan.abort_reason = reason
        self._driver.steering.in_a_hurry = bool(under_way)
        self._settle()
        if under_way:
            await asyncio.wait({plan.ended for plan in under_way}, timeout=_ABORT_S)  # of an overruled one: at once

    def latch(self, reason: str) -> None:
        """Hold the queue, as it was held when the service ended."""
        self._held, self._paused, self._driver.steering.paused = reason, False, False
        self._settle()

    async def destroy_environment(self) -> None:
        """End the worker of the queue server, which died: what ran there has failed, and somebody opens a new one.

        Raises
        ------
        Conflict
            The worker answers, or cannot be asked: what runs there may be somebody else's.
        BackendUnavailable
            The manager refused it, or does not answer.
        """
        manager = self._driver.manager
        try:
            await manager.look()
            await manager.probe(at_once=True)
            if manager.answers or not manager.worker_died:
                raise Conflict(
                    "the worker of the queue server is not known to have died, so its environment is not ours to "
                    "destroy; whoever looks after the queue server may do so there"
                )
            answer = await manager.client.ask("environment_destroy", within_s=10)
        except Silent as silent:
            raise BackendUnavailable(str(silent)) from None
        if not answer.get("success"):
            raise BackendUnavailable(f"the queue server did not destroy its environment: {answer.get('msg')}")
        self._driver.look_again()

    # how ----------------------------------------------------------------------------------------------------------

    def _refuse_held(self) -> None:
        if self._held is not None:
            raise QueueHeld(f"the plan queue is held: {self._held}; resume the queue first", legal=["resume"])

    async def _queued(self, plan: QueuedPlan) -> PlanResult:
        self._refuse_held()
        if self._driver.closed == SERVICE_STOPS:
            return PlanResult(ExitStatus.ABORT, SERVICE_STOPS)
        self._driver.add(plan)
        self._changed()
        try:
            return await asyncio.shield(plan.ended)
        finally:
            self._driver.take_back(plan)

    def _wanted(self, plan: QueuedPlan) -> bool:
        if plan.is_move:
            self._permit(plan.order)
            return True
        return self._may_begin(plan.order)

    def _keeps_back(self) -> str | None:
        """Return why nothing is sent though the manager would take it."""
        return None

    def _take_up(self, item: Mapping[str, Any]) -> QueuedPlan | None:
        """Return the plan of an item that runs and that only its ``meta`` shows to be ours."""
        return None

    def _end_waiting(self, reason: str, *, begun: bool) -> None:
        for plan in list(self._driver.waiting):
            self._driver.take_back(plan)
            plan.end(PlanResult(ExitStatus.ABORT, reason, begun=begun))
        self._changed()

    def _settle(self) -> None:
        if self._driver.closed != SERVICE_STOPS:
            self._driver.closed = self._held or ("paused by request" if self._paused else None)
        self._driver.look_again()
        self._changed()

    def _changed(self) -> None:
        if (status := self.status) != self._told:
            self._told = status
            self._on_change()
