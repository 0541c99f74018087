"""Devices are found wherever they are in a startup: real ones of ophyd and ophyd-async."""

import collections
import dataclasses
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import pytest
from bluesky.run_engine import RunEngine, get_bluesky_event_loop, set_bluesky_event_loop
from ophyd import Component, Device, DynamicDeviceComponent, PseudoPositioner, PseudoSingle, Signal, SoftPositioner
from ophyd.pseudopos import pseudo_position_argument, real_position_argument
from ophyd.sim import SynAxis
from ophyd_async.core import DeviceVector, StandardReadable, init_devices, soft_signal_rw
from ophyd_async.sim import SimMotor

from agent_service.errors import UnknownDevice
from agent_service.plans.namespace import Namespace


class Far(Signal):
    """A signal that must not be made before somebody asks for it."""

    made: ClassVar[list[str]] = []

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.made.append(self.name)


class Stage(Device):
    x = Component(SynAxis)
    y = Component(SynAxis)


class Lazy(Device):
    near = Component(Far)
    far = Component(Far, lazy=True)
    group = DynamicDeviceComponent({"deep": (Far, None, {"lazy": True})})
    table = Component(Stage, lazy=True)


class Slits(PseudoPositioner):
    centre = Component(PseudoSingle)
    size = Component(PseudoSingle)
    left = Component(SoftPositioner, init_pos=0)
    right = Component(SoftPositioner, init_pos=0)

    @pseudo_position_argument
    def forward(self, pseudo):
        half = pseudo.size / 2
        return self.RealPosition(left=pseudo.centre - half, right=pseudo.centre + half)

    @real_position_argument
    def inverse(self, real):
        return self.PseudoPosition(centre=(real.left + real.right) / 2, size=real.right - real.left)


class Table(StandardReadable):
    def __init__(self, name=""):
        with self.add_children_as_readables():
            self.height = SimMotor()
            self.legs = DeviceVector({1: SimMotor(), 2: SimMotor()})
        self.gain = soft_signal_rw(float)
        super().__init__(name=name)


class Beamline:
    """Somebody's own class that holds devices."""

    def __init__(self, motor):
        self.motor = motor

    @property
    def energy(self):
        raise RuntimeError("nobody asked for it")


@dataclasses.dataclass
class Registry:
    mono: object
    spare: list


class Pair(NamedTuple):
    left: Any
    right: Any


@pytest.fixture
def bluesky_loop():
    before = get_bluesky_event_loop()
    engine = RunEngine({}, context_managers=[])
    yield engine.loop
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join(10)
    engine.loop.close()
    set_bluesky_event_loop(before)


@pytest.fixture
def table(bluesky_loop):
    with init_devices():
        table = Table()
    return table  # noqa: RET504 - it is named by the variable


def names_of(**names):
    return Namespace(names, source="the test")


def refused(namespace, name):
    with pytest.raises(UnknownDevice) as error:
        namespace.device(name)
    return error.value.detail


@pytest.mark.parametrize("name", ["stage_x", "stage.x"])
def test_a_component_is_found_by_its_name_and_by_its_way(name):
    stage = Stage(name="stage")
    assert names_of(stage=stage).device(name) is stage.x


def test_components_of_a_device_that_calls_itself_otherwise():
    stage = Stage(name="sample")
    namespace = names_of(s=stage)
    assert namespace.device("s.x") is namespace.device("sample_x") is stage.x
    assert namespace.own_name("s.x") == "sample_x"


@pytest.mark.parametrize("name", ["slits_size", "slits.size"])
def test_a_pseudo_axis(name):
    slits = Slits(name="slits")
    assert names_of(slits=slits).actuator(names_of(slits=slits).own_name(name)) is slits.size


@pytest.mark.parametrize(
    ("name", "child"),
    [
        ("table-height", "height"),
        ("table.height", "height"),
        ("table-legs-2", "legs.2"),
        ("table.legs.2", "legs.2"),
        ("table.gain", "gain"),
    ],
)
def test_children_of_an_ophyd_async_device(table, name, child):
    children = {"height": table.height, "legs.2": table.legs[2], "gain": table.gain}
    assert names_of(table=table).device(name) is children[child]


def test_a_readback_that_bears_its_motors_name_is_no_second_device(table):
    assert table.height.user_readback.name == table.height.name
    axis = SynAxis(name="axis")
    assert axis.readback.name == "axis"
    namespace = names_of(table=table, axis=axis)
    assert namespace.device("axis") is axis
    assert namespace.device("table-height") is table.height


@pytest.mark.parametrize(
    ("way", "hold"),
    [
        ("motors.0", lambda m: {"motors": [m]}),
        ("motors.1.0", lambda m: {"motors": (3, [m])}),
        ("motors.x", lambda m: {"motors": {"x": m}}),
        ("motors.xpp.sb2:mono", lambda m: {"motors": {"xpp.sb2:mono": m}}),
        ("motors.7.x", lambda m: {"motors": {7: {"x": m}}}),
        ("motors.x", lambda m: {"motors": SimpleNamespace(x=m)}),
        ("motors.mono", lambda m: {"motors": Registry(mono=m, spare=[])}),
        ("motors.spare.0", lambda m: {"motors": Registry(mono=None, spare=[m])}),
        ("pair.right", lambda m: {"pair": Pair(None, m)}),
        ("beamline.motor", lambda m: {"beamline": Beamline(m)}),
        ("motors.x", lambda m: {"motors": collections.OrderedDict(x=m)}),
        ("motors.x", lambda m: {"motors": collections.UserDict(x=m)}),
        (None, lambda m: {"motors": {m}}),
        (None, lambda m: {"motors": frozenset([m])}),
    ],
)
def test_devices_in_containers(way, hold):
    motor = SynAxis(name="mono")
    namespace = names_of(**hold(motor))
    assert namespace.device("mono") is motor
    assert namespace.device("mono_setpoint") is motor.setpoint
    if way:
        assert namespace.device(way) is motor


def test_a_container_that_holds_itself():
    motors = [SynAxis(name="mono")]
    motors.append(motors)
    assert names_of(motors=motors).device("mono") is motors[0]


@pytest.mark.parametrize("other", [3, None, "text", SynAxis, pytest, lambda: None, [1, 2]])
def test_a_variable_of_the_same_name_hides_no_device(other):
    stage = Stage(name="stage")
    assert names_of(stage=stage, stage_x=other).device("stage_x") is stage.x


def test_one_device_under_several_names_is_one():
    stage = Stage(name="stage")
    namespace = names_of(stage=stage, stage_x=stage.x, axes=[stage.x, stage.y], again=stage)
    assert namespace.device("stage_x") is namespace.device("axes.0") is namespace.device("again.x") is stage.x


@pytest.mark.parametrize(
    ("hold", "says"),
    [
        (lambda a, b: {"a": a, "b": b}, "a and b"),
        (lambda a, b: {"mono": a, "spare": [b]}, "mono and spare.0"),
        (lambda a, b: {"motors": {"one": a, "two": b}}, "motors.one and motors.two"),
    ],
)
def test_a_name_meant_for_two_devices_is_refused_with_both(hold, says):
    namespace = names_of(**hold(SynAxis(name="mono"), SynAxis(name="mono")))
    assert refused(namespace, "mono") == (
        f"'mono' is meant for 2 devices in the test: {says}; give each a name of its own"
    )


def test_a_component_and_a_variable_of_one_name_are_refused():
    namespace = names_of(stage=Stage(name="stage"), stage_x=SynAxis(name="stage_x"))
    assert "'stage_x' is meant for 2 devices in the test: stage.x and stage_x;" in refused(namespace, "stage_x")


def test_names_that_are_crossed_are_refused():
    namespace = names_of(a=SynAxis(name="b"), b=SynAxis(name="a"))
    said = refused(namespace, "a")
    assert "a (calls itself 'b')" in said
    assert "and b;" in said


def test_a_second_device_that_comes_later_is_seen():
    names = {"mono": SynAxis(name="mono")}
    namespace = Namespace(names, source="the test")
    namespace.device("mono")
    names["other"] = SynAxis(name="mono")
    assert "meant for 2 devices" in refused(namespace, "mono")
    del names["mono"]
    assert namespace.device("mono") is names["other"]


def test_a_device_that_leaves_its_container_is_unknown():
    motors = {"x": SynAxis(name="mono")}
    namespace = names_of(motors=motors)
    namespace.device("mono")
    motors.clear()
    assert "no device 'mono'" in refused(namespace, "mono")


def test_the_search_makes_no_lazy_component():
    Far.made.clear()
    device = Lazy(name="lazy")
    namespace = names_of(lazy=device, other=SynAxis(name="other"))
    namespace.device("other")
    refused(namespace, "nothing_like_it")
    assert Far.made == ["lazy_near"]
    assert namespace.device("lazy_far") is device.far
    assert Far.made == ["lazy_near", "lazy_far"]
    assert namespace.device("lazy_group_deep").name == "lazy_group_deep"
    assert namespace.device("lazy.table.x") is namespace.device("lazy_table_x") is device.table.x


def test_a_lazy_component_that_cannot_be_had_says_why():
    class Absent(Signal):
        def wait_for_connection(self, *args, **kwargs):
            raise TimeoutError("no answer\nfrom XF:1")

    class Remote(Device):
        axis = Component(Absent, lazy=True)

    namespace = names_of(remote=Remote(name="remote"))
    assert refused(namespace, "remote_axis") == (
        "'remote.axis' in the test cannot be had: TimeoutError: no answer from XF:1"
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [("stage_z", "'stage_x'"), ("stage.z", "'stage.x'"), ("stag_x", "'stage_x'"), ("stagex", "'stage_x'")],
)
def test_an_unknown_device_is_answered_with_those_that_are_near(name, near):
    said = refused(names_of(stage=Stage(name="stage")), name)
    assert f"there is no device {name!r} in the test; did you mean" in said
    assert near in said


def test_a_device_without_a_name_says_so():
    motor = SimMotor()
    assert refused(names_of(motor=motor), "motor") == (
        "'motor' in the test is of type SimMotor and has no name; give it one"
    )


def test_all_of_ophyd_sim_can_be_the_startup():
    """It has several devices of one name, on purpose; the plain ones are meant."""
    names = {}
    exec("from ophyd.sim import *", names)
    namespace = Namespace(names, source="ophyd.sim")
    for name in ("motor", "motor1", "motor2", "det", "det1", "img", "pseudo1x3"):
        assert namespace.device(name) is names[name]
    assert namespace.own_name("motor_no_pos") == "motor"


def test_what_a_namespace_holds_beside_devices_is_passed_over(tmp_path):
    with (tmp_path / "mono").open("w") as file:
        namespace = names_of(file=file, big=list(range(100_000)), text="mono", kind=SynAxis, pytest=pytest)
        assert "there is no device 'mono' in the test" in refused(namespace, "mono")
        assert namespace.devices == []


def test_devices_are_listed_without_the_signals_and_lazy_parts_of_others():
    names = {
        "stage": Stage(name="stage"),
        "lazy": Lazy(name="lazy"),
        "slits": Slits(name="slits"),
        "table": Table(name="table"),
        "shutter": Signal(name="shutter"),
        "twins": [SynAxis(name="twin"), SynAxis(name="twin")],
    }
    listed = {device.name: device for device in Namespace(names, source="a startup").list_devices()}
    assert list(listed) == sorted(listed)
    assert {"stage", "stage_x", "stage_y", "lazy", "slits", "slits_centre", "shutter", "table"} <= set(listed)
    assert not [name for name in listed if name.startswith(("lazy_near", "lazy_far", "stage_x_"))]
    assert {"twins.0", "twins.1"} <= set(listed), "by the way to each"
    assert listed["stage_x"].moves
    assert not listed["stage"].moves
    assert listed["stage"].reads
