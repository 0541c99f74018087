"""What devices say of a plan that is to begin: asked beside the event loop, for one may hang."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from agent_service.plans.device_positions import wholes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.plans.namespace import Namespace, NamespaceDevices
    from agent_service.protocols import DeviceWords, PlanOrder

Answered = tuple["dict[str, Sequence[str]]", "DeviceWords"]
"""What each device moves with, by name, and what the devices say of the point."""

_Orders = SimpleQueue["tuple[PlanOrder, Future[Answered]] | None"]


class DeviceQuestions:
    """Asks the devices of a plan in a thread that does nothing else meanwhile, for one may hang: then there is another.

    A thread that has been answered waits for the next plan; to start one costs the RunEngine the interpreter twice.
    """

    def __init__(self, namespace: Namespace, devices: NamespaceDevices) -> None:
        self._namespace = namespace
        self._devices = devices
        self._idle: list[_Orders] = []

    def begin(self, order: PlanOrder) -> Future[Answered]:
        """Ask what a plan's devices are parts of, and what they say of its point; from any thread."""
        answered: Future[Answered] = Future()
        try:
            orders = self._idle.pop()
        except IndexError:
            orders = _Orders()
            threading.Thread(target=self._ask, args=(orders,), name="asking-devices", daemon=True).start()
        orders.put((order, answered))
        return answered

    def close(self) -> None:
        """Let the threads end that wait for a plan."""
        while self._idle:
            self._idle.pop().put(None)

    def _ask(self, orders: _Orders) -> None:
        while (asked := orders.get()) is not None:
            order, answered = asked
            try:
                answer = self._answer(order)
            except BaseException as error:  # noqa: BLE001 - raised where it is looked at
                self._idle.append(orders)
                answered.set_exception(error)
            else:
                self._idle.append(orders)
                answered.set_result(answer)
            del asked, order, answered

    def _answer(self, order: PlanOrder) -> Answered:
        actuators = [self._namespace.actuator(name) for name in order.actuators]
        wholes = wholes_of(actuators, self._namespace.same_setpoint)
        return dict(wholes), self._devices.words(order.point)


def answer_of(asked: Future[Answered]) -> tuple[Any, DeviceWords | None]:
    """Return what devices said; where they do not answer in time, or one raises, the service is to ask each."""
    return asked.result() if asked.done() and asked.exception() is None else (None, None)
