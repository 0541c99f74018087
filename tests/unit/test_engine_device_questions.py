"""What devices say of a plan, asked in threads: one that hangs holds up nobody but itself."""

import threading

import pytest
from ophyd.sim import SynAxis

from agent_service.plans.namespace import Namespace, NamespaceDevices
from agent_service.plans.sinks.engine_process._device_questions import DeviceQuestions, answer_of
from agent_service.protocols import PlanOrder


class Axis(SynAxis):
    """Says its limits once `talks` is set, and raises what `trouble` holds."""

    trouble = None

    def __init__(self, name):
        self.talks = threading.Event()
        self.talks.set()
        self.asked_in = []
        super().__init__(name=name)

    @property
    def limits(self):
        self.asked_in.append(threading.get_ident())
        self.talks.wait(30)
        return (-1.0, 1.0)


@pytest.fixture
def axes():
    found = {"x": Axis("x"), "y": Axis("y")}
    yield found
    for axis in found.values():
        axis.talks.set()


@pytest.fixture
def asking(axes):
    namespace = Namespace(axes, source="a test")
    questions = DeviceQuestions(namespace, NamespaceDevices(namespace, lambda answer, timeout_s: None))
    yield questions
    for axis in axes.values():
        axis.talks.set()
    questions.close()


def order_of(name):
    return PlanOrder("s1", "a", {name: 0.5}, plan="acquire", actuators=(name,), sensors=())


def test_plan_after_plan_is_asked_in_one_thread(axes, asking):
    for _ in range(3):
        _, words = asking.begin(order_of("x")).result(30)
        assert words.limits == {"x": (-1.0, 1.0)}
    assert len(set(axes["x"].asked_in)) == 1


def test_a_device_that_hangs_holds_up_no_other(axes, asking):
    axes["x"].talks.clear()
    hangs = asking.begin(order_of("x"))
    _, words = asking.begin(order_of("y")).result(30)
    assert words.limits == {"y": (-1.0, 1.0)}
    assert answer_of(hangs) == (None, None)
    axes["x"].talks.set()
    assert hangs.result(30)[1].limits == {"x": (-1.0, 1.0)}


def test_a_device_that_is_not_there_is_an_answer_that_says_nothing(axes, asking):
    axes.pop("x")
    asked = asking.begin(order_of("x"))
    assert "no device 'x'" in str(asked.exception(30))
    assert answer_of(asked) == (None, None)
    assert asking.begin(order_of("y")).result(30)[1].limits == {"y": (-1.0, 1.0)}
