"""A startup for a RunEngine's process: a test in another process lets its plans go on by files in ``$GATES``."""

import ctypes
import multiprocessing
import os
import time
from pathlib import Path

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from ophyd.sim import SynAxis, SynSignal

x = SynAxis(name="x", labels={"motors"})
signal = SynSignal(func=lambda: 1.0 - x.readback.get() ** 2, name="signal")
camera = SynSignal(func=lambda: np.full((700, 700), x.readback.get()), name="camera")
GATES = Path(os.environ.get("GATES", "."))


class Crashing(SynSignal):
    def trigger(self):
        ctypes.string_at(0)


class Holding(SynSignal):
    def trigger(self):
        (GATES / "held").touch()
        ctypes.PyDLL(None).sleep(600)  # unlike CDLL it keeps the interpreter


class Blocking(SynSignal):
    def trigger(self):
        (GATES / "blocked").touch()
        time.sleep(600)  # the interpreter is free, and so is the process's answer


crashing, holding, blocking = Crashing(name="crashing"), Holding(name="holding"), Blocking(name="blocking")


def gated(suggestions, actuators, sensors, md=None):
    """Measure twice in one run, and wait between the two until a test opens the gate."""

    @bpp.run_decorator(md=md or {})
    def run():
        yield from bps.mv(x, suggestions[0]["x"])
        yield from bps.trigger_and_read([x, *sensors])
        (GATES / "measuring").touch()
        while not (GATES / "open").exists():
            yield from bps.checkpoint()
            yield from bps.sleep(0.01)
        yield from bps.trigger_and_read([x, *sensors])

    with (GATES / "begun").open("a") as begun:
        begun.write(suggestions[0]["_id"] + "\n")
    return (yield from run())


def pausing(suggestions, actuators, sensors, md=None):
    """Measure, pause, and note that somebody resumed."""

    @bpp.run_decorator(md=md or {})
    def run():
        yield from bps.mv(x, suggestions[0]["x"])
        yield from bps.trigger_and_read([x, *sensors])
        yield from bps.checkpoint()
        yield from bps.pause()
        (GATES / "resumed").touch()

    return (yield from run())


def misused(suggestions, actuators, sensors, md=None):
    """Read the device that spoils it at x = 1, else measure."""

    @bpp.run_decorator(md=md or {})
    def run():
        at = suggestions[0]["x"]
        yield from bps.mv(x, at)
        yield from bps.trigger_and_read([signal, *(sensors if at == 1 else [])])

    return (yield from run())


def forking(suggestions, actuators, sensors, md=None):
    """Start a process as multiprocessing does where nobody says otherwise, and wait until a test opens the gate."""
    helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    helper.start()
    (GATES / "forked").write_text(str(helper.pid))
    yield from gated(suggestions, actuators, sensors, md)


def printing(suggestions, actuators, sensors, md=None):
    """Print two megabytes, and go on as `gated` when a test has seen them put aside."""
    print("much\n" * 400_000, flush=True)
    while not (GATES / "aside").exists():
        yield from bps.sleep(0.05)
    print("said since", flush=True)
    yield from gated(suggestions, actuators, sensors, md)


def noted(suggestions, actuators, sensors, md=None):
    """Measure three times in some 100 ms, and note the suggestion before."""

    @bpp.run_decorator(md=md or {})
    def run():
        yield from bps.mv(x, suggestions[0]["x"])
        for _ in range(3):
            yield from bps.checkpoint()
            yield from bps.trigger_and_read([x, *sensors])
            yield from bps.sleep(0.03)

    with (GATES / "begun").open("a") as begun:
        begun.write(suggestions[0]["_id"] + "\n")
    return (yield from run())
