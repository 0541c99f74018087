"""What a beamline's profile may be: a RunEngine, devices, plans; documents go to QUEUE_DOCUMENTS and to PUBLISHES_*."""

import json
import os

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import zmq
from bluesky import RunEngine
from bluesky.plan_stubs import mv  # noqa: F401 - a plan of the queue
from bluesky.plans import count  # noqa: F401 - as above
from ophyd.sim import SynAxis, SynSignal

from agent_service.client.session import run_session  # noqa: F401 - as above
from agent_service.plans.publish import publisher
from agent_service.plans.queue_server import acquire, move_to  # noqa: F401 - as above

RE = RunEngine({"proposal": "P-1", "scan_id": 41})
_documents = zmq.Context().socket(zmq.PUSH)
_documents.connect(os.environ["QUEUE_DOCUMENTS"])
RE.subscribe(lambda name, doc: _documents.send(json.dumps([name, doc], default=float).encode()))
if address := os.environ.get("PUBLISHES_ZMQ"):
    RE.subscribe(publisher(address))
if broker := os.environ.get("PUBLISHES_KAFKA"):
    import peers

    RE.subscribe(peers.KafkaPublisher(*broker.split()))
if server := os.environ.get("PUBLISHES_NATS"):
    import peers

    RE.subscribe(peers.NatsThread(server))

motor = SynAxis(name="motor")
other_axis = SynAxis(name="other_axis")
det = SynSignal(name="det", func=lambda: -(motor.position**2))


def raises(suggestions, actuators, sensors, md=None):
    yield from bps.null()
    raise ValueError("the shutter is closed,\nsays the plan")


def raises_in_run(suggestions, actuators, sensors, md=None):
    @bpp.run_decorator(md=md)
    def inner():
        yield from bps.sleep(0)
        raise ValueError("beam lost")

    yield from inner()


def says_fail(suggestions, actuators, sensors, md=None):
    yield from bps.open_run(md=md)
    yield from bps.close_run(exit_status="fail", reason="the sample is gone")


def no_run(suggestions, actuators, sensors, md=None):
    yield from bps.null()


def two_runs(suggestions, actuators, sensors, md=None):
    yield from bp.count(sensors, md=md)
    yield from bp.count(sensors, md=md)


def remembers(suggestions, actuators, sensors, md=None):
    yield from bp.count(sensors, md=md)


def leisurely(suggestions, actuators, sensors, md=None):
    """A run of many checkpoints that lasts three seconds."""

    @bpp.run_decorator(md=md)
    def inner():
        for _ in range(60):
            yield from bps.checkpoint()
            yield from bps.sleep(0.05)
        yield from bps.trigger_and_read([*sensors, *actuators])

    yield from inner()


def lingers(suggestions, actuators, sensors, md=None):
    """A run, and after it nothing for minutes."""
    yield from bp.count(sensors, md=md)
    yield from bps.sleep(600)


def unhurried(suggestions, actuators, sensors, md=None):
    """A run of a second, at the point of the suggestion."""

    @bpp.run_decorator(md=md)
    def inner():
        yield from bps.mv(actuators[0], suggestions[0][actuators[0].name])
        for _ in range(20):
            yield from bps.checkpoint()
            yield from bps.sleep(0.05)
        yield from bps.trigger_and_read([*sensors, *actuators])

    yield from inner()


def by_hand(seconds: float = 0.0):
    """A person's plan: a run without anybody's suggestion."""

    @bpp.run_decorator(md={"by": "hand"})
    def inner():
        for _ in range(round(seconds / 0.05)):
            yield from bps.checkpoint()
            yield from bps.sleep(0.05)
        yield from bps.trigger_and_read([det])

    yield from inner()
