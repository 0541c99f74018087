"""A startup whose signals conditions are about: soft ones, changed by tests; its plans wait in the middle of a run."""

import threading

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from ophyd import Signal
from ophyd.sim import SynAxis, SynSignal

x = SynAxis(name="x")
ring_current = Signal(name="ring_current", value=300.0)
shutter = Signal(name="shutter", value="open")
det = SynSignal(name="det", func=lambda: -1000.0 if ring_current.get() < 100 else x.position)

measuring = threading.Event()  # set while `gated` waits in its run
gate = threading.Event()
runs_begun = []


def gated(suggestions, actuators, sensors, md=None):
    """Measure, but wait inside the run until a test opens the gate."""

    @bpp.run_decorator(md=md or {})
    def run():
        runs_begun.append(suggestions[0]["x"])
        yield from bps.mv(actuators[0], suggestions[0]["x"])
        measuring.set()
        while not gate.is_set():
            yield from bps.sleep(0.01)
        yield from bps.trigger_and_read([*actuators, *sensors])

    return (yield from run())


def no_light(suggestions, actuators, sensors, md=None):
    """Raise in its run while there is no beam."""

    @bpp.run_decorator(md=md or {})
    def run():
        measuring.set()
        while not gate.is_set():
            yield from bps.sleep(0.01)
        if ring_current.get() < 100:
            msg = "the detector saw nothing"
            raise RuntimeError(msg)
        yield from bps.trigger_and_read([*actuators, *sensors])

    return (yield from run())


def fresh():
    """Begin anew: beam, open shutter, and a gate that is open."""
    ring_current.put(300.0)
    shutter.put("open")
    gate.set()
    measuring.clear()
    runs_begun.clear()
    ring_current.__dict__.pop("get", None)
    x.set(0).wait(1)
