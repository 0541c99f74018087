"""The plans that were handed to the child, and whether each may begin: the service is asked, and its answer kept.

A plan begins when the service has permitted it, and is not taken back (`_turns`). The one behind the plan that runs is
asked for early, so that it begins without a gap; it, too, begins when there is no service by then. No other does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import Conflict, ServiceError
from agent_service.executors.detached import DetachedThread
from agent_service.plans.device_positions import wholes_of
from agent_service.plans.sinks.engine_process._messages import Question, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from agent_service.plans.namespace import Namespace, NamespaceDevices
    from agent_service.plans.sinks.engine_process._frames import Message
    from agent_service.plans.sinks.engine_process._turns import TurnFile
    from agent_service.plans.sinks.run_engine import Look
    from agent_service.protocols import DeviceWords, PlanOrder

TAKEN_BACK: Final = "taken back before it began"

ANSWERS_WITHIN_S: Final = 2.0
"""How long the devices of a plan may take to say what they say of its point; then the service asks each."""

EARLY_WITHIN_S: Final = 1.0
"""How long an early permission holds while there is a service: then much may have changed."""


@dataclass(slots=True, eq=False)
class HostedPlan:
    """A plan that was handed over: what was asked of the service about it, and what that said."""

    number: int
    order: PlanOrder
    is_move: bool
    payload: bytes | None = None  # of a plan that is no name here; see `_live_plans`
    question: Message | None = None
    early: bool = False
    asked_at: float = 0.0  # when it was asked early, as `time.monotonic` has it
    verdict: bool | ServiceError | None = None
    task: asyncio.Task[None] | None = None


class PlanTurns:
    """Knows the plans by number; belongs to the child's event loop, but for `permit`.

    ``say`` says something to the service, and ``served`` returns whether there is one, from any thread. ``began`` is
    called, in the RunEngine's thread, with the number of a plan that begins. ``newest`` is the number of the last plan
    that was handed over.
    """

    def __init__(
        self,
        turns: TurnFile,
        asking: DeviceQuestions,
        *,
        say: Callable[..., None],
        served: Callable[[], bool],
        began: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._turns = turns
        self._asking = asking
        self._say = say
        self._served = served
        self._began = began
        self._plans: dict[int, HostedPlan] = {}
        self._by_point: dict[int, HostedPlan] = {}
        self._turn = threading.Condition()
        self._at_turn: HostedPlan | None = None
        self._running = 0
        self._begun_early: deque[int] = deque(maxlen=8)  # of those before the service has heard that they ended
        self.newest = 0  # for reading, from any thread

    @property
    def all(self) -> list[HostedPlan]:
        """All of them, until they are settled."""
        return list(self._plans.values())

    @property
    def running(self) -> bool:
        """Whether one has begun and not ended."""
        return self._running != 0

    @property
    def questions(self) -> list[Message]:
        """What the service has not answered."""
        with self._turn:
            return [plan.question for plan in self._plans.values() if plan.question and plan.verdict is None]

    def add(self, plan: HostedPlan) -> None:
        """Take a plan that was handed over."""
        self._plans[plan.number] = self._by_point[id(plan.order.point)] = plan
        self.newest = plan.number
        self.look_ahead()

    def note_end(self, plan: HostedPlan) -> None:
        """Note that a plan runs no more."""
        if self._running == plan.number:
            self._running = 0

    def settle(self, number: int) -> None:
        """Forget a plan whose fate is written."""
        if (plan := self._plans.pop(number, None)) is not None:
            self._by_point.pop(id(plan.order.point), None)
        self.look_ahead()

    def take_back(self, number: int) -> None:
        """Let a plan go that has not begun, and does not by now: see `TurnFile`."""
        if (plan := self._plans.get(number)) is not None:
            with self._turn:
                plan.verdict = Conflict(TAKEN_BACK)
                self._turn.notify_all()
            if plan.task is not None:
                plan.task.cancel()

    def note_verdict(self, number: int, early: bool, verdict: Any) -> None:  # noqa: FBT001 - a message's part
        """Take what the service said of a plan."""
        plan = self._plans.get(number)
        if plan is None:
            return
        with self._turn:
            if early == plan.early and plan.verdict is None:
                plan.verdict = verdict if isinstance(verdict, bool) else unpacked(verdict)
                self._turn.notify_all()

    def refuse(self, reason: str) -> None:
        """Let a plan that waits for the service's word begin no more."""
        with self._turn:
            if self._at_turn is not None and not self._at_turn.verdict:
                self._at_turn.verdict = Conflict(reason)
                self._turn.notify_all()

    def ask_again(self, agent: str) -> None:
        """Have an agent's plans that were permitted early asked for when their turn has come: it was changed."""
        with self._turn:
            for plan in self._plans.values():
                if plan.order.agent == agent and plan.early and plan.verdict is True:
                    plan.verdict = False

    def look_ahead(self) -> None:
        """Ask early for the plan behind the one that runs, if that is one of a suggestion."""
        with self._turn:
            begun = self._turns.last
            waiting = (plan for number, plan in self._plans.items() if number > begun)
            after = next((plan for plan in waiting if not isinstance(plan.verdict, ServiceError)), None)
            if not self._running or after is None or after.early or after.question is not None or after.is_move:
                return
            after.early = True
        asked = self._asking.begin(after.order)

        def say() -> None:
            with self._turn:
                if after.question is not None:
                    return
                wholes, words = _answer(asked)
                after.question = ("ask", after.number, Question(None, wholes, words))
                after.asked_at = time.monotonic()
            self._say(after.question)

        self._loop.call_later(ANSWERS_WITHIN_S, say)
        asked.add_done_callback(lambda _: say())

    def permit(self, order: PlanOrder, look: Look) -> None:
        """Wait until the service permits a plan; in the RunEngine's thread. Raises `ServiceError` when it does not."""
        plan = self._by_point[id(order.point)]
        while not self._begins(plan):
            self._ask_at_turn(plan, *look())
        self._began(plan.number)

    def _begins(self, plan: HostedPlan) -> bool:
        """Wait for what was asked, and begin a plan that is permitted; return False when it is to be asked now."""
        with self._turn:
            self._at_turn = plan
            if plan.early or plan.question is not None:
                self._turn.wait_for(lambda: plan.verdict is not None)
            if plan.early and self._served() and time.monotonic() > plan.asked_at + EARLY_WITHIN_S:
                plan.verdict = plan.verdict if isinstance(plan.verdict, ServiceError) else False
            if not plan.verdict:
                return False
            self._at_turn = None
            if isinstance(plan.verdict, ServiceError):
                raise plan.verdict
            if not self._turns.take(plan.number):
                raise Conflict(TAKEN_BACK)
            self._running = plan.number
            if plan.early:
                self._begun_early.append(plan.number)
            return True

    def _ask_at_turn(self, plan: HostedPlan, places: Mapping[str, float], wholes: Mapping[str, Sequence[str]]) -> None:
        asked = self._asking.begin(plan.order)
        wait([asked], timeout=ANSWERS_WITHIN_S)
        _, words = _answer(asked)
        with self._turn:
            if isinstance(plan.verdict, ServiceError):  # taken back meanwhile
                return
            plan.early, plan.verdict = False, None
            said = Question(dict(places), dict(wholes), words, begun=tuple(self._begun_early))
            plan.question = ("ask", plan.number, said)
        self._say(plan.question)


class DeviceQuestions:
    """Asks the devices of a plan, in a thread beside the others, for one may hang."""

    def __init__(self, namespace: Namespace, devices: NamespaceDevices) -> None:
        self._namespace = namespace
        self._devices = devices
        self._thread = DetachedThread("asking-devices")

    def begin(self, order: PlanOrder) -> Future[tuple[dict[str, Sequence[str]], DeviceWords]]:
        """Ask what a plan's devices are parts of, and what they say of its point."""
        return self._thread.begin(lambda: self._answer(order))

    def _answer(self, order: PlanOrder) -> tuple[dict[str, Sequence[str]], DeviceWords]:
        actuators = [self._namespace.actuator(name) for name in order.actuators]
        wholes = wholes_of(actuators, self._namespace.same_setpoint)
        return dict(wholes), self._devices.words(order.point)


def _answer(asked: Future[tuple[dict[str, Sequence[str]], DeviceWords]]) -> tuple[Any, DeviceWords | None]:
    """Return what devices said; where they do not answer in time, or one raises, the service is to ask each."""
    return asked.result() if asked.done() and asked.exception() is None else (None, None)
