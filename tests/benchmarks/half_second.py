"""A startup module with one peak, and a plan that takes half a second."""

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from ophyd.sim import SynAxis, SynSignal

x = SynAxis(name="x")
y = SynAxis(name="y")
signal = SynSignal(func=lambda: 1.0 - (x.readback.get() - 1.3) ** 2 - (y.readback.get() + 0.6) ** 2, name="signal")


def half_a_second(suggestions, actuators, sensors, md=None):
    """Measure a point; the run takes half a second."""

    @bpp.run_decorator(md=md or {})
    def run():
        for actuator in actuators:
            yield from bps.mv(actuator, suggestions[0][actuator.name])
        yield from bps.sleep(0.5)
        yield from bps.trigger_and_read([*actuators, *sensors])

    return (yield from run())
