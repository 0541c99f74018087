"""Sink ``run_engine``: plans for the service's own RunEngine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.documents.document_copies import deep_copy
from agent_service.errors import BackendUnavailable, FieldError, InvalidInput, InvalidPoint, UnknownPlan
from agent_service.models import ID_KEY
from agent_service.models.values import is_settable
from agent_service.plans.device_positions import positions_of, wholes_of
from agent_service.plans.named_plan import messages_of, named
from agent_service.plans.namespace import NamespaceDevices
from agent_service.plans.sinks.run_engine_backlog import PlanJob
from agent_service.protocols import MOVE, SERVICE_STOPS, ExitStatus, MeasuredBy, PlanOrder, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import AgentSpec, Event, Point, QueueStatus
    from agent_service.plans.named_plan import Choice
    from agent_service.plans.namespace import Namespace
    from agent_service.plans.sinks.run_engine_driver import RunEngineDriver
    from agent_service.protocols import Document

    Look = Callable[[], tuple[Mapping[str, float], Mapping[str, Sequence[str]]]]
    Permit = Callable[[PlanOrder, Look], None]

_log = logging.getLogger(__name__)

_MOVE_TO: Final = "agent_service.plans.library:move_to"
"""The plan of a move, found as every plan is."""

_ABORT_S: Final = 5.0
"""How long `RunEngineSink.abort` waits for the plan to end; it is held and being aborted in any case."""

_HALT_S: Final = 0.5
"""How long `RunEngineSink.stop` waits for a plan that did not end in time, and is not to clean up any more."""


class RunEngineSink:
    """Plans for the service's own RunEngine; a `PlanSink`. Its coroutines run on the service's event loop.

    Parameters
    ----------
    driver
        The RunEngine; `start` starts it and `stop` ends it.
    namespace
        Where devices and plans are found by name, anew for each plan.
    md
        Metadata for every start document. It wins over a plan's own; a ``scan_id`` in it is where numbers go on from.
    permit
        ``permit(order, look)``: called when a plan's or a move's turn has come, in the driver's thread. ``look()``
        returns where its actuators are as far as they say it, and the devices that they are parts of. Raises
        `OutOfBounds` when a guardrail forbids it by now.
    """

    kind = "run_engine"
    takes_ahead = True
    plans_end_here = True
    reattaches = False
    measured_by = MeasuredBy.SERVICE
    moves = True

    def __init__(
        self,
        driver: RunEngineDriver,
        namespace: Namespace,
        md: Mapping[str, Any],
        *,
        permit: Permit = lambda order, look: None,
    ) -> None:
        self.devices = NamespaceDevices(namespace, driver.engine.ask)
        self.list_devices = namespace.list_devices
        self._driver = driver
        self._permit = permit
        self._namespace = namespace
        self._md = dict(md)
        self._jobs: set[PlanJob] = set()
        self._notified = False
        driver.scan_id = int(self._md.pop("scan_id", 0))

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits, from memory."""
        return self._driver.status

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; returns at once, the RunEngine is made meanwhile. ``on_change`` is called on this event loop."""
        loop = asyncio.get_running_loop()

        def notify() -> None:
            # a plan changes the status half a dozen times; one wake-up of the loop may stand for several
            if not self._notified:
                self._notified = True
                _call_on(loop, pass_on)

        def pass_on() -> None:
            self._notified = False
            on_change()

        self._driver.start(notify)

    async def stop(self, timeout_s: float) -> None:
        """End: a plan under way is aborted so that its stop document is written, and its thread ends.

        Plans under way and waiting end as ``abort``; later ones too, at once. A RunEngine that is still being made is
        left to itself: its thread ends when it is there.
        """
        self._driver.close(SERVICE_STOPS)
        if self._driver.being_made:
            return
        if not await asyncio.to_thread(self._driver.join, timeout_s):
            self._driver.halt(SERVICE_STOPS)
            await asyncio.to_thread(self._driver.join, _HALT_S)

    def latch(self, reason: str) -> None:
        """Hold the queue from the start on, as it was held when the service ended."""
        self._driver.latch(reason)

    def own_name(self, name: str) -> str:
        """Return what the device ``name`` calls itself; ``name`` may be the way to it."""
        return self._namespace.own_name(name)

    def check(self, spec: AgentSpec, *, chosen: bool = False) -> None:
        """Raise `UnknownPlan` or `UnknownDevice` unless there are the plan and the devices. It may import modules.

        Raise `InvalidInput` when two actuators are one: they write the same process variable.

        A plan that is ``chosen`` for each suggestion in another process is looked for at its turn.
        """
        if not chosen:
            self._namespace.plan(spec.plan)
        for name in spec.actuators:
            twins = set(self._namespace.same_setpoint(self._namespace.actuator(name))).intersection(spec.actuators)
            if twins:
                why = f"{name} and {', '.join(sorted(twins))} write the same process variable; take one of them"
                raise InvalidInput(why, errors=[FieldError("actuators", why)])
        for name in spec.sensors:
            self._namespace.device(name)

    async def run(self, order: PlanOrder, *, choice: Choice | None = None) -> PlanResult:
        """Queue a plan and return when it ended and its documents were delivered.

        ``choice`` is the plan, where it was chosen in another process. A caller that is cancelled withdraws a plan that
        waits; one that runs goes on to its end, unobserved.

        Raises
        ------
        QueueHeld
            When the queue is held.
        """
        identity = {"agent_name": order.agent, "agent_suggestion_uid": order.suggestion_id}
        md = {**deep_copy(self._md), **deep_copy(order.md), **identity}  # a plan may change what it is given
        md.pop("scan_id", None)
        return await self._queued(lambda: self._plan(order, choice), label=order.suggestion_id, md=md)

    async def move(self, point: Point, *, agent: str = "", despite_conditions: bool = False) -> PlanResult:
        """Queue a move of actuators to ``point`` for an agent, without a run, and return when it ended.

        A caller that is cancelled withdraws a move that waits.

        Raises
        ------
        QueueHeld
            When the queue is held.
        """
        about: dict[str, Any] = {"plan": MOVE, "actuators": tuple(point), "sensors": ()}
        order = PlanOrder("", agent, point, **about, despite_conditions=despite_conditions)
        began_at = 0.0

        def build() -> Any:
            nonlocal began_at
            messages = self._move(order)
            began_at = time.monotonic()
            return messages

        result = await self._queued(build, md={"agent_name": agent}, needs_run=False)
        return replace(result, took_s=time.monotonic() - began_at) if began_at else result

    async def reattach(self, orders: Sequence[PlanOrder]) -> dict[str, asyncio.Future[PlanResult]]:
        """Return nothing: the RunEngine, and what it ran, ended with the service."""
        return {}

    def observe(self, name: str, document: Document, run: str) -> None:
        """Do nothing: the RunEngine tells how its plans go."""

    def apply(self, fact: Event) -> None:
        """Do nothing: what the facts forbid is asked when a plan's turn has come."""

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that wait, or the one for suggestion ``only``; return whether there was any."""
        mine = [job for job in self._jobs if job.md.get("agent_name") == agent and only in (None, job.label)]
        withdrawn = [job for job in mine if self._driver.withdraw(job)]
        for job in withdrawn:
            job.done(PlanResult(ExitStatus.ABORT, reason, begun=False))
        return bool(withdrawn)

    async def pause(self) -> None:
        """Pause: the plan under way stops at its next checkpoint, if it has one, and no other begins."""
        self._driver.pause()

    async def resume(self) -> None:
        """Resume from paused or held.

        Raises
        ------
        BackendUnavailable
            There is no RunEngine: it could not be made.
        """
        if self._driver.broken is not None:
            raise BackendUnavailable(self._driver.broken)
        self._driver.resume()

    async def abort(self, reason: str) -> None:
        """Latch ``held``, withdraw what waits, and abort the plan under way; returns when it ended, or after 5 s.

        A plan that has not ended by then, and is aborted again, ends without its clean-up.
        """
        self._driver.abort(reason)
        await asyncio.to_thread(self._driver.wait_idle, _ABORT_S)

    async def _queued(self, build: Callable[[], Any], **about: Any) -> PlanResult:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[PlanResult] = loop.create_future()

        def settle(result: PlanResult) -> None:
            if not future.done():
                future.set_result(result)

        job = PlanJob(build, lambda result: _call_on(loop, lambda: settle(result)), **about)
        self._driver.submit(job)
        self._jobs.add(job)
        try:
            return await future
        except asyncio.CancelledError:
            self._driver.withdraw(job)
            raise
        finally:
            self._jobs.discard(job)

    # --- in the driver's thread

    def _plan(self, order: PlanOrder, choice: Choice | None) -> Any:
        choice = choice or named(order)
        plan = self._namespace.plan(order.plan if choice is None else choice.name)
        actuators = [self._namespace.actuator(name) for name in order.actuators]
        sensors = [self._namespace.device(name) for name in order.sensors]
        _check_finite(order.point)
        self._permit(order, lambda: _look(actuators, self._namespace, self._driver))
        suggestions = [{**order.point, ID_KEY: order.suggestion_id}]
        if choice is not None:
            messages = messages_of(choice, self._namespace)
        else:
            messages = plan(suggestions, actuators, sensors, md=deep_copy(order.md))
        if not isinstance(messages, Iterable):
            kind = type(messages).__name__
            raise UnknownPlan(f"plan {order.plan!r} returned {kind}, not messages; write it as a generator function")
        return cast("Iterable[Any]", messages)

    def _move(self, order: PlanOrder) -> Any:
        _check_finite(order.point)
        devices = [self._namespace.actuator(name) for name in order.actuators]
        self._permit(order, lambda: _look(devices, self._namespace, self._driver))
        return self._namespace.plan(_MOVE_TO)(order.point, devices)


def _look(
    devices: Sequence[Any], namespace: Namespace, driver: RunEngineDriver
) -> tuple[dict[str, float], dict[str, list[str]]]:
    return positions_of(devices, driver.engine.ask), wholes_of(devices, namespace.same_setpoint)


def _check_finite(point: Point) -> None:
    for name, position in point.items():
        if not is_settable(position):
            raise InvalidPoint(f"the position of {name!r} is not a finite number, so nothing moves")


def _call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        _log.debug("the event loop is closed, nobody waits for this any more")
