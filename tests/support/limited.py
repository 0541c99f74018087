"""A startup module for tests: devices that state limits in each way there is, and some that do so badly."""

import asyncio
import threading

from ophyd import Component, Device, EpicsMotor, EpicsSignal, PVPositionerPC
from ophyd.sim import SynAxis, SynSignal, hw, make_fake_device
from ophyd_async.core import soft_signal_rw
from ophyd_async.sim import SimMotor


class Careless(SynAxis):
    """States limits, and goes wherever it is sent."""

    limits = (-5.0, 5.0)


class Picky(SynAxis):
    """States no limits, and refuses whole even numbers."""

    def check_value(self, value):
        if value and value % 2 == 0:
            raise ValueError(f"{value:g} is even")


class Shy(SynAxis):
    """Does not answer while `talks` is not set."""

    @property
    def limits(self):
        talks.wait()
        return (-3.0, 3.0)


class Broken(SynAxis):
    """Cannot be asked."""

    @property
    def limits(self):
        raise ConnectionError("the crate is off")


class Far(SynAxis):
    """Says where it is while `talks` is set, or raises what `trouble` holds."""

    trouble = None

    @property
    def position(self):
        talks.wait()
        if self.trouble is not None:
            raise self.trouble
        return super().position

    def read(self):
        assert self.position is not None
        return super().read()


class AsyncMotor(SimMotor):
    """A motor of ophyd-async with the limits of a motor record, which its own move does not look at."""

    def __init__(self, name):
        self.low_limit_travel = soft_signal_rw(float, -2.0)
        self.high_limit_travel = soft_signal_rw(float, 2.0)
        super().__init__(name)


class OfEpics(SynAxis):
    """Names the process variable that it writes, as an `EpicsSignal` does."""

    setpoint_pvname = "LAB:m1.VAL"


talks = threading.Event()
talks.set()

careless = Careless(name="careless")
picky = Picky(name="picky")
shy = Shy(name="shy")
broken = Broken(name="broken")
far = Far(name="far")
one_way, other_way = OfEpics(name="one_way"), OfEpics(name="other_way")
x = SynAxis(name="x")
y = SynAxis(name="y")

record = make_fake_device(EpicsMotor)("", name="record")  # ophyd's motor record, without a server of EPICS
record.user_setpoint.sim_set_limits((-4.0, 4.0))
positioner = make_fake_device(
    type(
        "Positioner",
        (PVPositionerPC,),
        {"setpoint": Component(EpicsSignal, "S"), "readback": Component(EpicsSignal, "R")},
    )
)("", name="positioner", limits=(0.0, 1.0))
pseudo = hw().pseudo3x3
pseudo3x3_pseudo1, pseudo3x3_pseudo2 = pseudo.pseudo1, pseudo.pseudo2
modern = AsyncMotor("modern")
asyncio.run(modern.connect())

signal = SynSignal(func=lambda: 1.0, name="signal")
stage = type("Stage", (Device,), {"inner": Component(SynAxis)})(name="stage")
