"""The child's part of the sink: it hosts a `RunEngineSink`, and does what the service says."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from agent_service.errors import ServiceError, texts
from agent_service.models import QueueState
from agent_service.plans.namespace import NamespaceDevices
from agent_service.plans.sinks.engine_process._kept_messages import KeptMessages
from agent_service.plans.sinks.engine_process._live_plans import TakenPlans
from agent_service.plans.sinks.engine_process._messages import Hello, packed
from agent_service.plans.sinks.engine_process._plan_turns import TAKEN_BACK, DeviceQuestions, HostedPlan, PlanTurns
from agent_service.plans.sinks.engine_process._watches import SignalWatches
from agent_service.plans.sinks.run_engine import RunEngineSink
from agent_service.plans.sinks.run_engine_driver import RunEngineDriver
from agent_service.plans.watched_signals import NamespaceSignals
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from agent_service.models import AgentSpec
    from agent_service.plans.sinks.engine_process._frames import FrameProtocol, Message
    from agent_service.plans.sinks.engine_process._messages import ChildSettings
    from agent_service.plans.sinks.engine_process._turns import TurnFile
    from agent_service.plans.sinks.engine_settings import LoadedStartup

_log = logging.getLogger(__name__)


class EngineHost:
    """Does what the service says; belongs to the child's event loop."""

    def __init__(self, settings: ChildSettings, loaded: LoadedStartup, turns: TurnFile) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self.kept = KeptMessages(self._loop, self._news)
        driver = RunEngineDriver(self.kept, loaded.loop, configure=loaded.configure)
        asking = DeviceQuestions(loaded.namespace, NamespaceDevices(loaded.namespace, driver.engine.ask))
        self._plans = PlanTurns(turns, asking, say=self.kept.say, served=lambda: self.kept.attached, began=self._began)
        self.sink = RunEngineSink(driver, loaded.namespace, settings.engine.md, permit=self._plans.permit)
        driver.engine.subscribe(self.kept.on_document)
        self._watches = SignalWatches(NamespaceSignals(loaded.namespace, driver.engine.ask), self.kept.say)
        self._taken_plans = TakenPlans(loaded.namespace)
        self._under_way: set[asyncio.Task[None]] = set()
        self._status: Any = None
        self.quitting = False
        self._closing = False
        self._called_off: set[int] = set()
        self.on_quit: Callable[[], None] = lambda: None
        devices = self.sink.devices
        self._calls: dict[str, Callable[..., Awaitable[Any]]] = {
            "here": lambda: asyncio.sleep(0),  # that it answers is all
            "ask": self._ask,
            "pause": self.sink.pause,
            "resume": self.sink.resume,
            "latch": self._latch,
            "abort": self._abort,
            "stop": self._stop,
            "quit": self._quit,
        }
        self._questions: dict[str, Callable[..., Any]] = {  # which look for devices or ask them, and may block
            "check": self._check,
            "own_name": self.sink.own_name,
            "list_devices": self.sink.list_devices,
            "has_actuator": devices.check,
            "limits": devices.limits,
            "position": devices.position,
            "units": devices.units,
            "wholes": devices.wholes,
            "refusals": devices.refusals,
            "has_signal": self._watches.check,
        }
        self._passed_on: dict[str, Callable[..., None]] = {
            "hand over": self.kept.hand_over,
            "permitted": self._plans.note_verdict,
            "take back": self._plans.take_back,
            "ask again": self._plans.ask_again,
            "watch": self._watches.watch,
        }
        driver.start(self.kept.wake_later)

    @property
    def hello(self) -> Hello:
        """What to say first to a service."""
        orders = {plan.number: plan.order for plan in self._plans.all}
        ends = self._closing or self.quitting
        return Hello(os.getpid(), self._settings.digest, orders, tuple(self.kept.runs), ends)

    @property
    def moving(self) -> bool:
        """Whether a plan is on its way to an end without anybody: it has begun, and nobody has stopped it."""
        return self._plans.running and self.sink.status.state not in (QueueState.PAUSED, QueueState.HELD)

    @property
    def has_nothing(self) -> bool:
        """Whether there is nothing to hand over to a service."""
        return self.kept.empty and (self.quitting or not self._plans.all)

    # with a service -----------------------------------------------------------------------------------------------

    def connect(self, connection: FrameProtocol | None) -> None:
        """Answer a service that is there from here on; None: there is none, and what is to be said is kept."""
        self._status = None
        self._called_off.clear()  # another service counts its calls anew
        self.kept.connect(connection)
        self._watches.leave_service()

    def hear(self, message: Message) -> None:
        """Do what a message says."""
        kind, *rest = message
        match kind:
            case "attach":  # say everything to the service that is there (again), and ask what nobody answered
                self.kept.attach()
                self.kept.say(*self._plans.questions)
            case "submit":
                self._submit(HostedPlan(*rest))
            case "stored":
                self.kept.stored(rest[0])
                if self.quitting:
                    self.on_quit()
            case "settled":
                self._plans.settle(rest[0])
                self.kept.forget(rest[0], documents=self._settings.keeps_documents)
                if self.quitting:
                    self.on_quit()
            case "call":
                self._begin(self._answer(*rest))
            case "call off":
                self._called_off.add(rest[0])
            case _ if kind in self._passed_on:
                self._passed_on[kind](*rest)
            case _:
                _log.error("a message %r is not known here", kind)

    async def _answer(self, call: int, method: str, args: Sequence[Any]) -> None:
        if call in self._called_off:  # it came with the call, which nobody expects any more
            self._called_off.discard(call)
            return
        try:
            result = ("answer", call, await self._calls[method](*args), None)
        except Exception as error:  # noqa: BLE001 - told who asked
            result = ("answer", call, None, packed(error))
        self.kept.say(result)

    async def _latch(self, reason: str) -> None:
        self.sink.latch(reason)

    async def _ask(self, question: str, *args: Any) -> Any:
        return await asyncio.to_thread(self._questions[question], *args)

    def _check(self, spec: AgentSpec, payload: bytes | None, chosen: bool) -> None:  # noqa: FBT001 - a message's part
        self._taken_plans.take(spec.plan, payload)
        self.sink.check(spec, chosen=chosen)

    async def _abort(self, reason: str) -> bool:
        """Abort; return whether the plan under way has ended."""
        self._plans.refuse(reason)
        await self.sink.abort(reason)
        return self.sink.status.current is None

    async def end(self, reason: str, timeout_s: float) -> None:
        """End the RunEngine; wait for its plan at most so long."""
        self._plans.refuse(reason)
        await self.sink.stop(timeout_s)

    async def _stop(self, reason: str, timeout_s: float) -> bool:
        """End the RunEngine; return whether its plan ended in time."""
        self._closing = True
        await self.end(reason, timeout_s)
        plans = {plan.task for plan in self._plans.all if plan.task is not None}
        if self.sink.status.current is not None:
            return False
        if plans:  # their results, so that they go out before the answer
            await asyncio.wait(plans, timeout=1.0)
        return True

    async def _quit(self) -> None:
        self.quitting = True
        self.on_quit()

    def _submit(self, plan: HostedPlan) -> None:
        plan.task = self._begin(self._run(plan))
        self._plans.add(plan)

    async def _run(self, plan: HostedPlan) -> None:
        order = plan.order
        try:
            choice = self._taken_plans.take(order.plan, plan.payload)
            if plan.is_move:
                result: Any = await self.sink.move(order.point, agent=order.agent)
            else:
                result = await self.sink.run(order, choice=choice)
        except ServiceError as error:
            result = packed(error)
        except asyncio.CancelledError:
            result = PlanResult(ExitStatus.ABORT, TAKEN_BACK, begun=False)
        self._plans.note_end(plan)
        self.kept.finish(plan.number, result)

    def _began(self, number: int) -> None:
        """Note whose documents come now; in the RunEngine's thread."""
        self.kept.number = number
        if self._plans.newest > number:
            self._loop.call_soon_threadsafe(self._plans.look_ahead)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    def _news(self) -> list[Message]:
        status = self.sink.status
        if status == self._status:
            return []
        self._status = status
        return [("status", status)]


def say_why(error: BaseException) -> str:
    """Return why a startup could not be loaded, in one line."""
    return error.detail if isinstance(error, ServiceError) else texts.describe(error)
