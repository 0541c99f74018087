"""Sink ``queueserver``: plans for a facility's queue server, which owns the RunEngine."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable, Conflict, UnknownPlan
from agent_service.models import QueueState, QueueStatus
from agent_service.plans.sinks.facility_sink import FacilitySink, catalogue_of_nobody
from agent_service.plans.sinks.queue_server.allowed import IMPORT_LINE, MOVES, Allowed, UnknownGroup, ways_in, wrong_in
from agent_service.plans.sinks.queue_server.clients import Silent
from agent_service.plans.sinks.queue_server.driver import QueueDriver
from agent_service.plans.sinks.queue_server.queued_plan import QueuedPlan, item_of, move_item
from agent_service.plans.sinks.unknown_fate import UnknownFates
from agent_service.protocols import ExitStatus, PlanOrder, PlanResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from agent_service.models import AgentSpec, DeviceInfo, Point
    from agent_service.plans.sinks.queue_server.allowed import Lists
    from agent_service.plans.sinks.queue_server.clients import Client
    from agent_service.protocols import Document

_CHECK_S: Final = 15.0

_log = logging.getLogger(__name__)


class QueueServerSink(FacilitySink[QueuedPlan]):
    """Plans for a queue server; a `PlanSink`. Belongs to the service's event loop, but for `check`.

    Parameters
    ----------
    client
        What speaks to its manager.
    md
        Metadata for every start document.
    poll_s
        How often the manager is asked while there is something to do, in seconds.
    gives_way
        Whether people have time to start what they put into the queue, see `PeoplesTurn`.
    may_begin, permit, moved
        As for `FacilitySink`.
    look_up
        As for `UnknownFates`.
    """

    kind = "queueserver"
    takes_ahead = False
    moves = True
    sessions = False  # whether an item measures many suggestions

    def __init__(  # noqa: PLR0913 - what there is to configure, by name
        self,
        client: Client,
        md: Mapping[str, Any],
        *,
        poll_s: float = 0.25,
        gives_way: bool = True,
        may_begin: Callable[[PlanOrder], bool],
        permit: Callable[[PlanOrder], None] = lambda order: None,
        moved: Callable[[PlanOrder], None] = lambda order: None,
        look_up: Callable[[], Awaitable[None]] = catalogue_of_nobody,
    ) -> None:
        super().__init__(may_begin, permit, moved)
        self._md = {key: value for key, value in md.items() if key != "scan_id"}
        self._driver = QueueDriver(
            client,
            self._line,
            self._hold,
            fates=UnknownFates("the queue server", look_up=look_up, latch=self.latch),
            poll_s=poll_s,
            on_change=self._changed,
            gives_way=gives_way,
            take_up=self._take_up,
        )
        self._line.on_change = self._look
        self._allowed = Allowed(self._driver.manager)
        self._mover = MOVES[0]
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits, and what the manager says, from memory."""
        driver, manager, waiting = self._driver, self._driver.manager, self._line.waiting
        ours = next(iter(self._line.under_way), None)
        state, reason = QueueState.IDLE if ours is None else QueueState.RUNNING, None
        if (steered := self._hold.state) is not None:
            state, reason = steered
            if state is QueueState.HELD and manager.trouble:
                reason = f"{reason}; {manager.trouble}"
            elif driver.steering.refused is not None:
                reason = f"{reason}; our plan goes on all the same: {driver.steering.refused}"
        elif manager.trouble is not None:
            state, reason = QueueState.SUSPENDED, manager.trouble
        elif ours is not None and ours.running and manager.state == "paused":
            why = driver.steering.refused
            paused = "somebody paused our plan at the queue server"
            state, reason = QueueState.PAUSED, paused if why is None else f"our plan is paused still: {why}"
        elif ours is None and waiting and driver.why is not None:
            state, reason = QueueState.SUSPENDED, driver.why
        return QueueStatus(
            kind=self.kind,
            state=state,
            reason=reason,
            pending=len(waiting),
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
        self._hold.closing = True
        await self._driver.stop()
        self._line.close()
        self._changed()

    def own_name(self, name: str) -> str:
        """Return the name itself: the queue server knows its devices by it; see `ways_in` for those of components."""
        return name

    def list_devices(self) -> list[DeviceInfo]:
        """Return the devices that are allowed; not in the event loop. Raises `BackendUnavailable` while it is away."""
        try:
            return self._lists().list_devices()
        except (Silent, TimeoutError) as error:
            raise BackendUnavailable(str(error) or "the queue server does not answer") from None

    def check(self, spec: AgentSpec) -> None:
        """Raise `UnknownPlan` or `UnknownDevice` unless the queue server allows them; not in the event loop.

        An actuator that is the way to a component is refused in any case. While it does not answer nothing else is
        known, and everything is accepted: it is asked again at each plan's turn.
        """
        for _, error in ways_in(spec, sessions=self.sessions):
            raise error
        if self._loop is None:
            return
        try:
            lists = self._lists()
        except UnknownGroup as refusal:
            raise UnknownPlan(str(refusal)) from None
        except (Silent, TimeoutError) as error:
            _log.warning("agent %s is taken unchecked: %s", spec.name, error)
            return
        for _, error in wrong_in(spec, lists, sessions=self.sessions):
            raise error

    async def move(self, point: Point, *, agent: str = "", despite_conditions: bool = False) -> PlanResult:
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
        self._hold.refuse_held()
        try:
            plan = (await self._allowed.lists()).move
        except Silent as silent:
            raise BackendUnavailable(f"{silent}, so nothing was moved") from None
        if plan is None:
            raise Conflict(
                f"the queue server allows none of the plans {' and '.join(MOVES)}, so nothing can be moved there; its "
                f"profile needs the line: {IMPORT_LINE}"
            )
        self._mover = plan
        return await self._move(point, agent, despite_conditions=despite_conditions)

    async def reattach(self, orders: Sequence[PlanOrder]) -> dict[str, asyncio.Future[PlanResult]]:
        """Look for the plans of an earlier life of the service, by their ids: each may have been sent."""
        plans = [QueuedPlan(order, {}, order.suggestion_id, taken_up=True) for order in orders]
        for plan in plans:
            self._line.add(plan)
        return {plan.key: plan.ended for plan in plans}

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``: the stop of a plan's only run is its end."""
        plan = self._line.observe(name, document, run)
        if plan is not None and name == "stop":
            result = plan.runs.result()
            # else the history says why; of one that was paused, also whether a person let it end so
            if result is not None and result.exit_status is ExitStatus.SUCCESS and not plan.was_paused:
                plan.end(result)
            self._look()

    async def resume(self) -> None:
        """Resume from paused or held; our plan goes on, if it is paused."""
        self._driver.steering.resume = True
        await super().resume()

    async def pause(self) -> None:
        """Pause: our plan that runs pauses at its next checkpoint, and no other of ours begins; others' go on."""
        self._driver.steering.resume = False
        await super().pause()

    async def destroy_environment(self) -> None:
        """End the worker of the queue server, which died: what ran there has failed, and somebody opens a new one."""
        await self._driver.manager.destroy_environment()
        self._driver.look_again()

    def _plan_of(self, order: PlanOrder, key: str) -> QueuedPlan:
        if order.suggestion_id:
            return QueuedPlan(order, item_of(order, self._md, user_md=order.md), key)
        return QueuedPlan(order, move_item(order, self._mover, key), key)

    def _steered(self) -> None:
        self._look()

    def _look(self) -> None:
        """Look at the manager at once."""
        self._driver.look_again()
        self._changed()

    def _lists(self) -> Lists:
        """Return what is allowed now; blocks, and raises `Silent` or `TimeoutError`."""
        if self._loop is None:
            raise Silent("the queue server is not asked yet")
        asked = asyncio.run_coroutine_threadsafe(self._allowed.lists(), self._loop)
        try:
            return asked.result(_CHECK_S)
        finally:
            asked.cancel()

    async def _take_up(self, item: Mapping[str, Any]) -> QueuedPlan | None:
        """Return the plan of an item that runs and that only its ``meta`` shows to be ours."""
        return None
