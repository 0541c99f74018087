"""What the sink lists is asked once for all, and remembered while it cannot be asked."""

import asyncio
import threading
from types import SimpleNamespace

from agent_service.agents import known_devices
from agent_service.agents.known_devices import KnownDevices
from agent_service.errors import BackendUnavailable
from agent_service.models import DeviceInfo

MOTOR = DeviceInfo(name="motor", moves=True, reads=True)


def known(list_devices):
    return KnownDevices(SimpleNamespace(list_devices=list_devices))


async def test_those_of_before_are_told_while_who_has_them_is_away():
    answers = [
        BackendUnavailable("it is away"),
        [MOTOR],
        BackendUnavailable("it is away"),
        ValueError("what a list"),
        [],
    ]

    def list_devices():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    devices = known(list_devices)
    first = await devices.list()
    assert (first.items, first.asked_at, first.reason) == ([], None, "it is away")
    there = await devices.list()
    assert (there.items, there.reason) == ([MOTOR], None)
    away = await devices.list()
    assert (away.items, away.asked_at, away.reason) == ([MOTOR], there.asked_at, "it is away")
    assert "what a list" in (await devices.list()).reason
    assert (await devices.list()).items == []


async def test_one_that_hangs_is_asked_once_and_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(known_devices, "ANSWERS_WITHIN_S", 0.05)
    leave, asked = threading.Event(), []

    def list_devices():
        asked.append(1)
        leave.wait(60)
        return [MOTOR]

    devices = known(list_devices)
    first, second = await asyncio.gather(devices.list(), devices.list())
    assert first.items == second.items == []
    assert first.reason == "no answer within 0.05 s"
    monkeypatch.setattr(known_devices, "ANSWERS_WITHIN_S", 60)
    leave.set()
    assert (await devices.list()).items == [MOTOR]
    assert asked == [1]
