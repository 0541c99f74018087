"""A startup module with devices that take their time: 50 ms to move, 50 ms to expose."""

from ophyd.sim import SynAxis, SynSignal

x = SynAxis(name="x", delay=0.05)
y = SynAxis(name="y", delay=0.05)
signal = SynSignal(func=lambda: 1.0 - x.readback.get() ** 2, name="signal", exposure_time=0.05)
