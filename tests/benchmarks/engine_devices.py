"""A startup for a RunEngine in a process: devices of no time, a plan of 100 ms, a device that holds the interpreter."""

import ctypes

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from ophyd.sim import SynAxis, SynSignal

x = SynAxis(name="x")
y = SynAxis(name="y")
signal = SynSignal(func=lambda: 1.0 - x.readback.get() ** 2, name="signal")


class Holding(SynSignal):
    def trigger(self):
        ctypes.PyDLL(None).usleep(60_000)  # unlike CDLL it keeps the interpreter
        return super().trigger()


holding = Holding(func=lambda: 0.0, name="holding")


def takes_100_ms(suggestions, actuators, sensors, md=None):
    @bpp.run_decorator(md=md or {})
    def run():
        for device in actuators:
            yield from bps.mv(device, suggestions[0][device.name])
        yield from bps.sleep(0.1)
        yield from bps.trigger_and_read([*actuators, *sensors])

    return (yield from run())
