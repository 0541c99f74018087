"""Devices and plans by name, and what is said of a name that stands for neither."""

import ophyd.sim
import pytest

from agent_service.errors import UnknownDevice, UnknownPlan
from agent_service.plans.startup import Namespace


class Axis:
    def __init__(self, name: str) -> None:
        self.name = name

    def read(self) -> dict:
        return {}

    def set(self, value: float) -> None: ...


class Gauge:
    name = "gauge"

    def read(self) -> dict:
        return {}


class Anything:
    """Answers to every attribute, as a lazy module does."""

    def __getattr__(self, name: str) -> "Anything":
        return self


def my_plan(suggestions, actuators, sensors, md):
    yield


@pytest.fixture
def names() -> dict[str, object]:
    axis = Axis("axis")
    return {"axis": axis, "gauge": Gauge(), "m1": Axis("tilt"), "my_plan": my_plan, "lazy": Anything(), "Axis": Axis}


@pytest.fixture
def namespace(names: dict[str, object]) -> Namespace:
    return Namespace(names, source="the test's namespace")


def test_devices_and_plans(namespace: Namespace, names: dict[str, object]) -> None:
    assert namespace.device("axis") is names["axis"]
    assert namespace.device("tilt") is names["m1"], "a device is known by its own name too"
    assert namespace.actuator("tilt") is names["m1"]
    assert namespace.plan("my_plan") is my_plan
    assert namespace.devices == ["axis", "gauge", "m1"]
    assert namespace.plans == ["acquire", "my_plan"]


def test_plans_from_elsewhere(namespace: Namespace, names: dict[str, object]) -> None:
    from agent_service.plans import library

    assert namespace.plan("acquire") is library.acquire
    assert namespace.plan("agent_service.plans.library:move_to") is library.move_to
    names["acquire"] = my_plan
    assert namespace.plan("acquire") is my_plan, "a namespace's own plan goes before the built-in one"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("axes", "there is no device 'axes' in the test's namespace; did you mean 'axis'? it has axis, gauge, m1"),
        ("my_plan", "'my_plan' in the test's namespace is of type function, not a device to read"),
        ("Axis", "'Axis' in the test's namespace is of type type, not a device to read"),
        ("lazy", "'lazy' in the test's namespace is of type Anything, not a device to read"),
    ],
)
def test_unknown_device(namespace: Namespace, name: str, says: str) -> None:
    with pytest.raises(UnknownDevice) as error:
        namespace.device(name)
    assert error.value.detail == says


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gauge", "the device 'gauge' has no set, so it cannot be an actuator; name it as a sensor"),
        ("m1", "the device 'm1' calls itself 'tilt'; name it so as an actuator"),
    ],
)
def test_no_actuator(namespace: Namespace, name: str, says: str) -> None:
    with pytest.raises(UnknownDevice) as error:
        namespace.actuator(name)
    assert error.value.detail == says


def test_a_signal_that_can_only_be_read_is_no_actuator() -> None:
    class Readback(ophyd.EpicsSignalRO):
        """A site's own kind of one."""

    there = {"temp": Readback("NO:SUCH:PV", name="temp"), "seen": ophyd.sim.SynSignalRO(name="seen")}
    for name in there:
        with pytest.raises(UnknownDevice, match=f"'{name}' is read-only, so it cannot be an actuator"):
            Namespace(there, source="the test's namespace").actuator(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("my_plane", "did you mean 'my_plan'? it has acquire, my_plan"),
        ("axis", "'axis' in the test's namespace is of type Axis, not a plan to call"),
        ("no_such_module:plan", "importing 'no_such_module' raised ModuleNotFoundError"),
        ("agent_service.plans.library:nothing", "the module 'agent_service.plans.library' has no 'nothing'"),
        ("agent_service.plans.library:", "the module 'agent_service.plans.library' has no ''"),
        (":plan", "importing '' raised ValueError"),
    ],
)
def test_unknown_plan(namespace: Namespace, name: str, says: str) -> None:
    with pytest.raises(UnknownPlan) as error:
        namespace.plan(name)
    assert says in error.value.detail


def test_it_is_live(namespace: Namespace, names: dict[str, object]) -> None:
    namespace.device("gauge")
    del names["gauge"]
    with pytest.raises(UnknownDevice, match="no device 'gauge'"):
        namespace.device("gauge")


def test_a_long_list_is_cut() -> None:
    namespace = Namespace({f"axis_{n:02}": Axis(f"axis_{n:02}") for n in range(30)}, source="a big beamline")
    with pytest.raises(UnknownDevice, match=r"axis_19 and 10 more$"):
        namespace.device("laser")
