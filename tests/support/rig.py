"""A startup module for tests: devices that move at once, one optimum, and plans that misbehave on purpose."""

import contextlib
import threading

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
from ophyd.sim import SynAxis, SynGauss, SynSignal

x = SynAxis(name="x", labels={"motors"})
y = SynAxis(name="y", labels={"motors"})
OPTIMUM = {"x": 1.0, "y": -0.5}


def _signal():
    return 1.0 - (x.readback.get() - OPTIMUM["x"]) ** 2 - (y.readback.get() - OPTIMUM["y"]) ** 2


signal = SynSignal(func=_signal, name="signal")
fixed = SynGauss("fixed", x, "x", center=0, Imax=1, sigma=1)  # cannot be set
nothing = SynSignal(func=lambda: float("nan"), name="nothing")

measuring = threading.Event()  # set while `gated` waits in a run
gate = threading.Event()  # lets `gated` go on


def gated(suggestions, actuators, sensors, md=None):
    """Measure, but wait inside the run until a test opens the gate."""

    @bpp.run_decorator(md=md or {})
    def run():
        measuring.set()
        while not gate.is_set():
            yield from bps.checkpoint()
            yield from bps.sleep(0.01)
        for actuator in actuators:
            yield from bps.mv(actuator, suggestions[0][actuator.name])
        yield from bps.trigger_and_read([*actuators, *sensors])

    return (yield from run())


def raises(suggestions, actuators, sensors, md=None):
    """Raise inside the run."""

    @bpp.run_decorator(md=md or {})
    def run():
        yield from bps.null()
        msg = "the shutter is closed"
        raise RuntimeError(msg)

    return (yield from run())


def every_other(suggestions, actuators, sensors, md=None):
    """Raise at even x, measure at odd."""
    if suggestions[0]["x"] % 2 == 0:
        return (yield from raises(suggestions, actuators, sensors, md))
    return (yield from bp.list_scan(sensors, *_positions(suggestions, actuators), md=md))


def no_run(suggestions, actuators, sensors, md=None):
    """Move and measure nothing."""
    for actuator in actuators:
        yield from bps.mv(actuator, suggestions[0][actuator.name])


def twice(suggestions, actuators, sensors, md=None):
    """Make two runs where one is asked for."""
    yield from bp.list_scan(sensors, *_positions(suggestions, actuators), md=md)
    yield from bp.list_scan(sensors, *_positions(suggestions, actuators), md=md)


def dark_light(suggestions, actuators, sensors, md=None):
    """Make a dark run, elsewhere, and then a light one at the point."""
    yield from bp.list_scan(sensors, x, [9.0], md={**(md or {}), "purpose": "dark"})
    yield from bp.list_scan(sensors, *_positions(suggestions, actuators), md={**(md or {}), "purpose": "light"})


def repeats(suggestions, actuators, sensors, md=None):
    """Measure again after a run that failed."""
    yield from bps.open_run({**(md or {}), "purpose": "light"})
    yield from bps.close_run(exit_status="fail", reason="no beam")
    yield from bp.list_scan(sensors, *_positions(suggestions, actuators), md={**(md or {}), "purpose": "light"})


def pauses_between(suggestions, actuators, sensors, md=None):
    """Make a dark run, wait until a test opens the gate, and make a light one."""
    yield from bp.list_scan(sensors, x, [9.0], md={**(md or {}), "purpose": "dark"})
    measuring.set()
    while not gate.is_set():
        yield from bps.sleep(0.01)
    yield from bp.list_scan(sensors, *_positions(suggestions, actuators), md={**(md or {}), "purpose": "light"})


def _positions(suggestions, actuators):
    return [part for actuator in actuators for part in (actuator, [suggestions[0][actuator.name]])]


def leisurely(suggestions, actuators, sensors, md=None):
    """Measure a point that takes a quarter of a second."""

    @bpp.run_decorator(md=md or {})
    def run():
        for actuator in actuators:
            yield from bps.mv(actuator, suggestions[0][actuator.name])
        for _ in range(25):
            yield from bps.checkpoint()
            yield from bps.sleep(0.01)
        yield from bps.trigger_and_read([*actuators, *sensors])

    return (yield from run())


def endless(suggestions, actuators, sensors, md=None):
    """Open a run and never end it."""

    @bpp.run_decorator(md=md or {})
    def run():
        while True:
            yield from bps.checkpoint()
            yield from bps.sleep(0.05)

    return (yield from run())


def gives_up(suggestions, actuators, sensors, md=None):
    """End its run as aborted, by itself."""
    yield from bps.open_run(md or {})
    yield from bps.close_run(exit_status="abort", reason="no beam")


def braided(suggestions, actuators, sensors, md=None):
    """Open two runs; the second measures elsewhere and closes first."""
    for key in ("first", "second"):
        yield from bpp.set_run_key_wrapper(bps.open_run(md or {}), key)
    for key, at in (("second", 0.0), ("first", 5.0)):
        yield from bps.mv(x, at, y, 0.0)
        yield from bpp.set_run_key_wrapper(bps.trigger_and_read([*actuators, *sensors]), key)
        yield from bpp.set_run_key_wrapper(bps.close_run(), key)


def brisk(suggestions, actuators, sensors, md=None):
    """Measure two events in a run of some 40 ms."""

    @bpp.run_decorator(md=md or {})
    def run():
        for actuator in actuators:
            yield from bps.mv(actuator, suggestions[0][actuator.name])
        for _ in range(2):
            yield from bps.sleep(0.02)
            yield from bps.trigger_and_read([*actuators, *sensors])

    return (yield from run())


def retrying(suggestions, actuators, sensors, md=None):
    """Take an abort for one more failure, and try again."""
    yield from bps.open_run(md=md)
    while True:
        with contextlib.suppress(Exception):
            yield from bps.sleep(30)
