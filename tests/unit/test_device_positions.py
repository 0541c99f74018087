"""Where devices say that they are: ophyd's, ophyd-async's and signals, asked as the driver asks them."""

import asyncio
import math

import pytest
from ophyd import Component, Device, EpicsMotor, EpicsSignal, Signal
from ophyd.sim import SynAxis, hw
from ophyd_async.core import SignalRW, soft_signal_rw
from ophyd_async.sim import SimMotor
from services import wait_until

from agent_service.documents.intake import DocumentIntake
from agent_service.plans.device_lookup import DeviceLookup
from agent_service.plans.device_positions import positions_of, wholes_of
from agent_service.plans.sinks.run_engine_driver import RunEngineDriver


@pytest.fixture
def driver():
    one = RunEngineDriver(DocumentIntake(None))
    one.start(lambda: None)
    wait_until(lambda: not one.being_made)
    yield one
    one.close("the test ends")
    one.join(10)


def test_a_positioner_of_ophyd(driver):
    axis = SynAxis(name="axis")
    axis.set(2.5).wait(5)
    assert positions_of([axis], driver.engine.ask) == {"axis": 2.5}


def test_a_motor_of_ophyd_async(driver):
    motor = SimMotor("motor", instant=True)
    driver.engine.ask(motor.connect(), 5)

    async def move():
        await motor.set(3.5)

    driver.engine.ask(move(), 5)
    assert positions_of([motor], driver.engine.ask) == {"motor": 3.5}


def test_signals_of_both(driver):
    ours, theirs = Signal(name="ours", value=1), soft_signal_rw(float, 2.0, name="theirs")
    driver.engine.ask(theirs.connect(), 5)
    assert positions_of([ours, theirs], driver.engine.ask) == {"ours": 1.0, "theirs": 2.0}


def test_a_device_whose_readback_has_another_name(driver):
    class PV(Device):
        setpoint = Component(Signal, value=9.0)
        readback = Component(Signal, value=4.0)

    assert positions_of([PV(name="pv")], driver.engine.ask) == {"pv": 4.0}


def test_what_a_device_is_a_part_of(driver):
    class Stage(Device):
        x = Component(SynAxis)

    stage, motor = Stage(name="stage"), SimMotor("motor", instant=True)
    found = wholes_of([stage, stage.x, stage.x.setpoint, motor.user_setpoint])
    assert found == {"stage_x": ["stage"], "stage_x_setpoint": ["stage_x", "stage"], "motor-user_setpoint": ["motor"]}


def test_devices_that_write_the_same_process_variable():
    """ophyd's; nothing is connected, and no server of EPICS is there."""
    devices = {
        "motor": EpicsMotor("LAB:m1", name="motor"),
        "signal": EpicsSignal("LAB:m1.VAL", name="signal"),
        "tweak": EpicsSignal("LAB:m1.RBV", write_pv="LAB:m1", name="tweak"),
        "alone": EpicsSignal("LAB:m2", name="alone"),
        "soft": Signal(name="soft", value=0),
    }
    lookup = DeviceLookup(devices, source="a test")
    found = wholes_of([devices[name] for name in ("motor", "tweak", "alone", "soft")], lookup.same_setpoint)
    assert found == {
        "motor": ["motor_user_setpoint", "signal", "tweak"],
        "tweak": ["motor", "motor_user_setpoint", "signal"],
    }
    devices["added"] = EpicsSignal("LAB:m2", name="added")
    assert lookup.same_setpoint(devices["alone"]) == ["added"]


@pytest.mark.parametrize(("source", "same"), [("ca://LAB:m1", True), ("pva://LAB:m1", True), ("soft://a", False)])
def test_signals_of_ophyd_async_with_the_same_source(monkeypatch, source, same):
    """Its EPICS needs a library of its own, so a soft signal says that it is one."""
    monkeypatch.setattr(SignalRW, "source", property(lambda self: f"mock+{source}"))
    one, other = soft_signal_rw(float, name="one"), soft_signal_rw(float, name="other")
    assert DeviceLookup({"one": one, "other": other}, source="a test").same_setpoint(one) == (["other"] if same else [])


def test_a_pseudo_axis_moves_the_real_ones_and_they_move_it(driver):
    pseudo = hw().pseudo3x3
    real, axes = [f"pseudo3x3_real{n}" for n in (1, 2, 3)], [f"pseudo3x3_pseudo{n}" for n in (1, 2, 3)]
    found = wholes_of([pseudo.pseudo1, pseudo.real2])
    assert found["pseudo3x3_pseudo1"] == ["pseudo3x3", *real]
    assert found["pseudo3x3_real2"] == ["pseudo3x3", *axes]


class Mute:
    name = "mute"
    parent = None

    def set(self, value):
        """Go there, and say nothing."""


class Broken(Mute):
    name = "broken"

    def read(self):
        raise ConnectionError("the controller is off")


class Hanging(Mute):
    name = "hanging"

    async def read(self):
        await asyncio.Event().wait()


def test_a_device_without_a_position_and_one_that_cannot_be_asked(driver, monkeypatch):
    monkeypatch.setattr("agent_service.plans.device_positions._ANSWERS_WITHIN_S", 0.05)
    found = positions_of([Mute(), Broken(), Hanging()], driver.engine.ask)
    assert found.keys() == {"broken", "hanging"}
    assert all(math.isnan(one) for one in found.values())
