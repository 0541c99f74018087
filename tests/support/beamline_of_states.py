"""A startup whose actuators are signals of ophyd-async: a strict enum, a text, whole numbers, a switch."""

from bluesky import RunEngine
from ophyd_async.core import StrictEnum, init_devices, soft_signal_rw


class Filter(StrictEnum):
    """What can be in the beam."""

    NONE = "none"
    AL = "Al"
    TI = "Ti"


RE = RunEngine({}, context_managers=[])
with init_devices():
    filt = soft_signal_rw(Filter, Filter.NONE)
    label = soft_signal_rw(str, "")
    turns = soft_signal_rw(int, 0)
    lamp = soft_signal_rw(bool, False)
    flux = soft_signal_rw(float, 1.5)
