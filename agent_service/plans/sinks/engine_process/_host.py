"""The child's part of the sink: it hosts a `RunEngineSink`, and asks the service before a plan begins.

A plan begins when the service has permitted it, and is not taken back (`_turns`). The one behind the plan that runs is
asked for early, so that it begins without a gap; it, too, begins when there is no service by then. No other does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import Conflict, ServiceError, texts
from agent_service.models import QueueState
from agent_service.plans.device_positions import wholes_of
from agent_service.plans.sinks.engine_process._kept_messages import KeptMessages
from agent_service.plans.sinks.engine_process._messages import Hello, packed, unpacked
from agent_service.plans.sinks.run_engine import RunEngineSink
from agent_service.plans.sinks.run_engine_driver import RunEngineDriver
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from agent_service.plans.sinks.engine_process._frames import FrameProtocol, Message
    from agent_service.plans.sinks.engine_process._messages import ChildSettings
    from agent_service.plans.sinks.engine_process._turns import TurnFile
    from agent_service.plans.sinks.engine_settings import LoadedStartup
    from agent_service.protocols import PlanOrder

_log = logging.getLogger(__name__)

_TAKEN_BACK: Final = "taken back before it began"


@dataclass(slots=True, eq=False)
class _Handed:
    """A plan that was handed over: what was asked of the service about it, and what that said."""

    number: int
    order: PlanOrder
    is_move: bool
    question: Message | None = None
    early: bool = False
    verdict: bool | ServiceError | None = None
    task: asyncio.Task[None] | None = None


class EngineHost:
    """Does what the service says; belongs to the child's event loop."""

    def __init__(self, settings: ChildSettings, loaded: LoadedStartup, turns: TurnFile) -> None:
        self._settings = settings
        self._turns = turns
        self._loop = asyncio.get_running_loop()
        self._namespace = loaded.namespace
        self.kept = KeptMessages(self._loop, self._news)
        driver = RunEngineDriver(self.kept, loaded.loop, configure=loaded.configure)
        self.sink = RunEngineSink(driver, loaded.namespace, settings.engine.md, permit=self._permit)
        driver.engine.subscribe(self.kept.on_document)
        self._orders: dict[int, _Handed] = {}
        self._by_point: dict[int, _Handed] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._turn = threading.Condition()
        self._at_turn: _Handed | None = None
        self._running = 0
        self._status: Any = None
        self.quitting = False
        self.on_quit: Callable[[], None] = lambda: None
        devices = self.sink.devices
        self._calls: dict[str, Callable[..., Awaitable[Any]]] = {
            "ask": self._ask,
            "pause": self.sink.pause,
            "resume": self.sink.resume,
            "latch": self._latch,
            "abort": self._abort,
            "stop": self._stop,
            "quit": self._quit,
        }
        self._questions: dict[str, Callable[..., Any]] = {  # which look for devices or ask them, and may block
            "check": self.sink.check,
            "own_name": self.sink.own_name,
            "has_actuator": devices.check,
            "limits": devices.limits,
            "position": devices.position,
            "refusals": devices.refusals,
        }
        self.sink.start(self.kept.wake)

    @property
    def hello(self) -> Hello:
        """What to say first to a service."""
        orders = {number: handed.order for number, handed in self._orders.items()}
        return Hello(os.getpid(), self._settings.digest, orders, tuple(self.kept.runs))

    @property
    def moving(self) -> bool:
        """Whether a plan is on its way to an end without anybody."""
        return self.sink.status.current is not None and self.sink.status.state not in (
            QueueState.PAUSED,
            QueueState.HELD,
        )

    @property
    def has_nothing(self) -> bool:
        """Whether there is nothing to hand over to a service."""
        return self.kept.empty and (self.quitting or not self._orders)

    # with a service -----------------------------------------------------------------------------------------------

    def attach(self, connection: FrameProtocol) -> None:
        """Say everything to a service that is there (again), and ask it what nobody answered."""
        self._status = None
        self.kept.attach(connection)
        with self._turn:
            asked = [handed.question for handed in self._orders.values() if handed.question and handed.verdict is None]
        self.kept.say(*asked)

    def hear(self, message: Message) -> None:
        """Do what a message says."""
        kind, *rest = message
        match kind:
            case "submit":
                self._submit(_Handed(*rest))
            case "permitted":
                self._note_verdict(*rest)
            case "take back":
                self._take_back(rest[0])
            case "stored":
                self.kept.stored(rest[0])
                if self.quitting:
                    self.on_quit()
            case "settled":
                self._settle(rest[0])
            case "call":
                self._begin(self._answer(*rest))
            case _:
                _log.error("a message %r is not known here", kind)

    async def _answer(self, call: int, method: str, args: Sequence[Any]) -> None:
        try:
            result = ("answer", call, await self._calls[method](*args), None)
        except Exception as error:  # noqa: BLE001 - told who asked
            result = ("answer", call, None, packed(error))
        self.kept.say(result)

    async def _latch(self, reason: str) -> None:
        self.sink.latch(reason)

    async def _ask(self, question: str, *args: Any) -> Any:
        return await asyncio.to_thread(self._questions[question], *args)

    async def _abort(self, reason: str) -> None:
        self._refuse_turn(reason)
        await self.sink.abort(reason)

    async def _stop(self, reason: str, timeout_s: float) -> bool:
        """End the RunEngine; return whether its plan ended in time."""
        self._refuse_turn(reason)
        await self.sink.stop(timeout_s)
        plans = {handed.task for handed in self._orders.values() if handed.task is not None}
        if self.sink.status.current is not None:
            return False
        if plans:  # their results, so that they go out before the answer
            await asyncio.wait(plans, timeout=1.0)
        return True

    async def _quit(self) -> None:
        self.quitting = True
        self.on_quit()

    # plans --------------------------------------------------------------------------------------------------------

    def _submit(self, handed: _Handed) -> None:
        self._orders[handed.number] = self._by_point[id(handed.order.point)] = handed
        handed.task = self._begin(self._run(handed))
        self._look_ahead()

    async def _run(self, handed: _Handed) -> None:
        order = handed.order
        try:
            made = self.sink.move(order.point, agent=order.agent) if handed.is_move else self.sink.run(order)
            result: Any = await made
        except ServiceError as error:
            result = packed(error)
        except asyncio.CancelledError:
            result = PlanResult(ExitStatus.ABORT, _TAKEN_BACK, begun=False)
        if self._running == handed.number:
            self._running = 0
        self.kept.finish(handed.number, result)

    def _take_back(self, number: int) -> None:
        """Let a plan go that has not begun, and does not by now: see `TurnFile`."""
        if (handed := self._orders.get(number)) is not None:
            with self._turn:
                handed.verdict = Conflict(_TAKEN_BACK)
                self._turn.notify_all()
            if handed.task is not None:
                handed.task.cancel()

    def _settle(self, number: int) -> None:
        if (handed := self._orders.pop(number, None)) is not None:
            self._by_point.pop(id(handed.order.point), None)
        self.kept.forget(number, documents=self._settings.keeps_documents)
        self._look_ahead()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    # permission ---------------------------------------------------------------------------------------------------

    def _look_ahead(self) -> None:
        """Ask early for the plan behind the one that runs, if that is one of a suggestion."""
        with self._turn:
            begun = self._turns.last
            waiting = (one for number, one in self._orders.items() if number > begun)
            after = next((one for one in waiting if not isinstance(one.verdict, ServiceError)), None)
            if not self._running or after is None or after.question is not None or after.is_move:
                return
            try:
                wholes = wholes_of(self._namespace.actuator(name) for name in after.order.actuators)
            except ServiceError:  # said when its turn has come
                return
            after.early = True
            after.question = ("ask", after.number, None, wholes)
        self.kept.say(after.question)

    def _note_verdict(self, number: int, early: bool, verdict: Any) -> None:  # noqa: FBT001 - a message's part
        handed = self._orders.get(number)
        if handed is None:
            return
        with self._turn:
            if early == handed.early and handed.verdict is None:
                handed.verdict = verdict if isinstance(verdict, bool) else unpacked(verdict)
                self._turn.notify_all()

    def _refuse_turn(self, reason: str) -> None:
        """Let a plan that waits for the service's word begin no more."""
        with self._turn:
            if self._at_turn is not None and self._at_turn.verdict is None:
                self._at_turn.verdict = Conflict(reason)
                self._turn.notify_all()

    def _permit(self, order: PlanOrder, found: Mapping[str, float], wholes: Mapping[str, Sequence[str]]) -> None:
        """Wait until the service permits a plan; in the driver's thread."""
        handed = self._by_point[id(order.point)]
        with self._turn:
            self._at_turn = handed
            if handed.early:
                self._turn.wait_for(lambda: handed.verdict is not None)
            if handed.verdict in (None, False):
                handed.early, handed.verdict = False, None
                handed.question = ("ask", handed.number, dict(found), dict(wholes))
                self.kept.say(handed.question)
                self._turn.wait_for(lambda: handed.verdict is not None)
            self._at_turn = None
            if isinstance(handed.verdict, ServiceError):
                raise handed.verdict
            if not self._turns.take(handed.number):
                raise Conflict(_TAKEN_BACK)
            self.kept.number = self._running = handed.number
        self._loop.call_soon_threadsafe(self._look_ahead)

    def _news(self) -> list[Message]:
        status = self.sink.status
        if status == self._status:
            return []
        self._status = status
        return [("status", status)]


def say_why(error: BaseException) -> str:
    """Return why a startup could not be loaded, in one line."""
    return error.detail if isinstance(error, ServiceError) else texts.describe(error)
