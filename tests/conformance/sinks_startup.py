"""The startup namespace of the sink suite: simulated devices, and plans that end in every way a plan can."""

import threading

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import remote_names
from ophyd import Component, Device, Signal
from ophyd.sim import SynAxis, SynSignal

motor = SynAxis(name="motor")
other_axis = SynAxis(name="other_axis")
det = SynSignal(name="det", func=lambda: -(motor.position**2))
nothing = SynSignal(name="nothing", func=lambda: np.nan)
doomed = SynSignal(name="doomed", func=lambda: 1.0)
camera = type("Camera", (Device,), {"total": Component(Signal, value=7.0)})(name="camera")
misnamed = SynAxis(name="its_own_name")

inside = threading.Event()
"""Set when a plan under test is in the middle of its run."""

leave = threading.Event()
"""Set by a test to let that plan end."""

started: list[str] = []
"""Suggestion ids of the plans that began, in order."""


def raises(suggestions, actuators, sensors, md):
    raise ValueError("the shutter is closed,\nsays the plan")
    yield


def raises_in_run(suggestions, actuators, sensors, md):
    @bpp.run_decorator(md=md)
    def inner():
        yield from bps.sleep(0)
        raise ValueError("beam lost")

    yield from inner()


def exits(suggestions, actuators, sensors, md):
    yield from bps.null()
    raise SystemExit(3)


class NoException(BaseException):
    """As `trio.Cancelled` and `gevent.Timeout` are none."""


def breaks_out(suggestions, actuators, sensors, md):
    yield from bps.null()
    raise NoException("time is up")


class Exiting(SynSignal):
    def trigger(self):
        raise SystemExit(3)


def device_exits(suggestions, actuators, sensors, md):
    yield from bp.count([Exiting(name="exiting")], md=md)


def says_fail(suggestions, actuators, sensors, md):
    yield from bps.open_run(md=md)
    yield from bps.close_run(exit_status="fail", reason="the sample is gone")


def no_run(suggestions, actuators, sensors, md):
    yield from bps.null()


def no_plan(suggestions, actuators, sensors, md):
    return None


def two_runs(suggestions, actuators, sensors, md):
    yield from bp.count(sensors, md=md)
    yield from bp.count(sensors, md=md)


def waits(suggestions, actuators, sensors, md):
    """A run of many checkpoints that goes on until `leave` is set."""
    started.append(suggestions[0]["_id"])

    @bpp.run_decorator(md=md)
    def inner():
        while not leave.is_set():
            yield from bps.checkpoint()
            inside.set()
            yield from bps.sleep(0.01)
        yield from bps.trigger_and_read([*sensors, *actuators])

    yield from inner()


def slow_to_build(suggestions, actuators, sensors, md):
    """A plan that is not there yet when the abort comes."""
    inside.set()
    leave.wait(60)
    return bp.count(sensors, md=md)


def sleeps(suggestions, actuators, sensors, md):
    """A run that is a long sleep: it ends by an abort only."""

    @bpp.run_decorator(md=md)
    def inner():
        inside.set()
        yield from bps.sleep(3600)

    yield from inner()


def pauses_itself(suggestions, actuators, sensors, md):
    @bpp.run_decorator(md=md)
    def inner():
        yield from bps.checkpoint()
        yield from bps.pause()
        yield from bps.trigger_and_read(sensors)

    yield from inner()


def cannot_pause(suggestions, actuators, sensors, md):
    @bpp.run_decorator(md=md)
    def inner():
        yield from bps.clear_checkpoint()
        yield from bps.pause()

    yield from inner()


def remembers(suggestions, actuators, sensors, md):
    started.append(suggestions[0]["_id"])
    yield from bp.count(sensors, md=md)


remote_names.serve(globals())
