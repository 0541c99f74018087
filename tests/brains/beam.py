"""A startup module: a beam to be made bright and narrow, and a plan that fails when a file says so."""

from pathlib import Path

import bluesky.plan_stubs as bps
from ophyd.sim import SynAxis, SynSignal

from agent_service.plans.library import acquire

x = SynAxis(name="x", labels={"motors"})
y = SynAxis(name="y", labels={"motors"})
flux = SynSignal(func=lambda: 1.0 - (x.readback.get() - 1.0) ** 2 - (y.readback.get() + 0.5) ** 2, name="flux")
width = SynSignal(func=lambda: 1.0 + (x.readback.get() + 1.0) ** 2, name="width")


def measure(suggestions, actuators, sensors=(), md=None):
    """Measure, or raise where there is a file of the suggestion's name."""
    if Path(f"fail-{suggestions[0]['_id']}").exists():
        msg = "the shutter did not open"
        raise RuntimeError(msg)
    yield from bps.sleep(0.1)  # so that a kill finds it at work
    return (yield from acquire(suggestions, actuators, sensors, md))
