"""The signals that the RunEngine's process watches, also without a service: the next one hears what they said."""

import asyncio

import pytest
from services import wait_until

from agent_service.plans.sinks.engine_process._watches import SignalWatches
from agent_service.plans.watched_signals import NamespaceSignals
from agent_service.protocols import SignalReading


class Said(list):
    def __call__(self, *messages):
        self.extend((name, reading.value) for _, name, reading in messages)


class Watch:
    def __init__(self, on_reading):
        self.on_reading, self.asked = on_reading, 0

    def ask(self):
        self.asked += 1

    def says(self, value, at):
        self.on_reading(SignalReading(value, at, at))


class Signals(dict):
    def watch(self, name, on_reading):
        self[name] = Watch(on_reading)
        return self[name]


def test_what_was_said_without_a_service_is_said_to_the_next_one_first_and_once():
    signals, said = Signals(), Said()
    watches = SignalWatches(signals, said)
    watches.watch("ring")
    signals["ring"].says(300, at=1)
    watches.leave_service()
    signals["ring"].says(0, at=2)
    signals["ring"].says(301, at=3)
    assert said == [("ring", 300)]
    said.clear()
    watches.watch("ring", 1.5)
    signals["ring"].says(302, at=4)
    watches.watch("ring")
    assert said == [("ring", 0), ("ring", 301), ("ring", 302)]
    assert signals["ring"].asked == 2


class Device:
    """A signal whose answers a test says."""

    name = "ring"
    SUB_META = "meta"

    def __init__(self, *answers):
        self.answers = list(answers)

    def get(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answers", "values"),
    [((1, TimeoutError("busy"), 2), [1, 2]), ((1, TimeoutError("gone"), TimeoutError("gone"), 2), [1, None])],
    ids=["once", "twice"],
)
def test_a_signal_that_did_not_answer_once_is_asked_once_more(answers, values):
    device, heard = Device(*answers), []

    class Namespace:
        def device(self, name):
            return device

    watch = NamespaceSignals(Namespace(), ask=None).watch("ring", heard.append)
    try:
        wait_until(lambda: len(heard) >= 1)
        watch.ask()
        wait_until(lambda: len(heard) >= 2)
    finally:
        watch.stop()
    assert [reading.value for reading in heard[:2]] == values
    assert heard[0].watched_since == heard[0].asked_at
    assert heard[1].watched_since == heard[0].watched_since


class AsyncSignal:
    """Answers as a signal of ophyd-async does; it says that it changed, too."""

    name = "ring"

    def __init__(self, severity):
        self._reading = {"ring": {"value": 300.0, "timestamp": 1.0, "alarm_severity": severity}}

    def read(self, *, cached):
        assert not cached
        return self._reading

    def subscribe_reading(self, listener):
        listener(self._reading)

    def clear_sub(self, listener):
        pass


@pytest.mark.parametrize(("severity", "value"), [(0, 300.0), (1, 300.0), (2, 300.0), (-1, None), (None, 300.0)])
def test_a_reading_whose_alarm_is_negative_is_not_known(severity, value):
    """bluesky: a positive severity is an alarm of a value that is so, a negative one says that it is not known."""
    heard = []

    class Namespace:
        def device(self, name):
            return AsyncSignal(severity)

    def ask(coroutine, within_s):
        return asyncio.run(asyncio.wait_for(coroutine, within_s))

    watch = NamespaceSignals(Namespace(), ask=ask).watch("ring", heard.append)
    try:
        wait_until(lambda: len(heard) >= 2)
    finally:
        watch.stop()
    assert [reading.value for reading in heard[:2]] == [value, value]
    says = "it says 300, with an alarm of severity INVALID" if value is None else ""
    assert {reading.fault for reading in heard[:2]} == {says}
