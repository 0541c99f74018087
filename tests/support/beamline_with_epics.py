"""A startup whose ring current and shutter are EPICS channels; its runs take a while, and are noted in a file."""

import json
from pathlib import Path

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from ophyd import EpicsSignalRO
from ophyd.sim import SynAxis, SynSignal

RUN_S = 0.1

x = SynAxis(name="x")
det = SynSignal(name="det", func=lambda: x.position)
ring_current = EpicsSignalRO("ring:current", name="ring_current")
shutter = EpicsSignalRO("ring:shutter", name="shutter", string=True)


def lasting(suggestions, actuators, sensors, md=None):
    """Measure for a while."""

    @bpp.run_decorator(md=md or {})
    def run():
        yield from bps.mv(actuators[0], suggestions[0]["x"])
        yield from bps.sleep(RUN_S)
        yield from bps.trigger_and_read([*actuators, *sensors])

    return (yield from run())


def until_told(suggestions, actuators, sensors, md=None):
    """Measure until a test says so, by a file."""

    @bpp.run_decorator(md=md or {})
    def run():
        yield from bps.mv(actuators[0], suggestions[0]["x"])
        while not Path("enough").exists():
            yield from bps.sleep(0.01)
        yield from bps.trigger_and_read([*actuators, *sensors])

    return (yield from run())


def configure_run_engine(run_engine):
    log = Path("runs.jsonl").open("a", buffering=1)  # noqa: SIM115 - as long as the RunEngine

    def note(name, document):
        if name in ("start", "stop"):
            uid = document["uid"] if name == "start" else document["run_start"]
            log.write(json.dumps([name, uid, document["time"]]) + "\n")

    run_engine.subscribe(note)
