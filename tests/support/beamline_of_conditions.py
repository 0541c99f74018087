"""A startup of signals that conditions are about, of each kind: soft ones, an enumeration of ophyd-async, EPICS."""

import os
from enum import Enum

from bluesky import RunEngine
from ophyd import DerivedSignal, EpicsSignalRO, Signal
from ophyd.sim import SynAxis, SynSignal
from ophyd_async.core import StrictEnum, init_devices, soft_signal_rw


class Shutter(StrictEnum):
    OPEN = "open"
    CLOSED = "closed"


class Mode(str, Enum):  # noqa: UP042 - as one of before Python 3.11, whose str() is its name
    USER = "user beam"
    STUDY = "machine study"


RE = RunEngine({}, context_managers=[])
x = SynAxis(name="x")
det = SynSignal(name="det", func=lambda: x.position)
level = Signal(name="level", value=150.0)
mode = Signal(name="mode", value=Mode.USER)
message = Signal(name="message", value="")
with init_devices():
    shutter = soft_signal_rw(Shutter, Shutter.OPEN)
    interlock = soft_signal_rw(bool, True)
if "EPICS_CA_SERVER_PORT" in os.environ:
    ring = EpicsSignalRO("ring:current", name="ring")
    derived = DerivedSignal(derived_from=ring, name="derived")
    gate = EpicsSignalRO("ring:shutter", name="gate")
    gate_text = EpicsSignalRO("ring:shutter", name="gate_text", string=True)
