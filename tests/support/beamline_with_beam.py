"""A startup whose RunEngine has what a beamline's has: suspenders, a baseline, monitors, preprocessors, metadata."""

import json
import threading

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.preprocessors import SupplementalData
from bluesky.suspenders import SuspendFloor
from ophyd import Signal
from ophyd.sim import SynAxis, SynSignal

x = SynAxis(name="x")
ring = Signal(name="ring", value=300.0)
temperature = Signal(name="temperature", value=21.5)
pressure = Signal(name="pressure", value=1.0)
det = SynSignal(name="det", func=lambda: 1 - (x.position - 1) ** 2)

seen = []
made_in = []
memory = {"scan_id": 700, "beamline": "XF1", "proposal": "of RE.md", "agent_name": "of RE.md"}  # a PersistentDict's
moving = threading.Event()
go = threading.Event()


def waits(suggestions, actuators, sensors, md=None):
    """Measure, but wait between two checkpoints until a test says so."""

    @bpp.run_decorator(md=md or {})
    def run():
        yield from bps.checkpoint()
        moving.set()
        while not go.is_set():
            yield from bps.sleep(0.01)
        yield from bps.mv(actuators[0], suggestions[0]["x"])
        yield from bps.checkpoint()
        yield from bps.trigger_and_read([*actuators, *sensors])

    return (yield from run())


def trips(suggestions, actuators, sensors, md=None):
    """Lose the beam when the plan is made: nobody has looked at the suspenders after that but the RunEngine."""
    ring.put(50)
    return waits(suggestions, actuators, sensors, md)


def with_proposal(plan):
    """Put something into each start document, as a preprocessor of a beamline does."""

    def labelled(msg):
        if msg.command == "open_run":
            return msg._replace(kwargs={**msg.kwargs, "cycle": "2026-3"})
        return msg

    return (yield from bpp.msg_mutator(plan, labelled))


def configure_run_engine(RE):  # noqa: N803 - as every Bluesky notebook calls it
    made_in.append(threading.current_thread().name)
    RE.md = memory
    RE.preprocessors.append(SupplementalData(baseline=[temperature], monitors=[pressure]))
    RE.preprocessors.append(with_proposal)
    RE.install_suspender(SuspendFloor(ring, 100, resume_thresh=200, tripped_message="the ring current is low"))
    RE.subscribe(lambda name, document: seen.append((name, document)))


def broken(run_engine):
    json.loads("no\nbeam")  # raises in a library
