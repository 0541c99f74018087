"""Detectors, subscribers and evaluate functions that change documents: what is told and spooled stays as it was."""

import json

import bluesky.plans as bp
import numpy as np
import pytest
from archive_rig import run_engine
from event_model import DocumentNames
from service_process import NOBODY
from services import Served, wait_until

from agent_service.launch.background import BackgroundServer
from agent_service.service.config import ServiceConfig


class Camera:
    """Fills one buffer again and again: frame n is full of n."""

    name = "camera"
    parent = None

    def __init__(self):
        self._buffer = np.zeros((8, 8))
        self.settings = {"roi": [0, 8]}

    def read(self):
        self._buffer += 1
        return {"frame": {"value": self._buffer, "timestamp": 1.0}}

    def describe(self):
        return {"frame": {"source": "camera", "dtype": "array", "shape": [8, 8]}}

    def read_configuration(self):
        return {"settings": {"value": self.settings, "timestamp": 1.0}}

    def describe_configuration(self):
        return {"settings": {"source": "camera", "dtype": "array", "shape": []}}


def spoil(name, document):
    """Change whatever can be changed, as a later subscriber may."""
    if name == "start":
        document["sample"]["name"] = "lead"
        document["more"] = "later"
    elif name == "descriptor":
        document["configuration"]["camera"]["data"].clear()
    elif name == "event":
        document["data"]["frame"] = np.full((8, 8), -1.0)
        document["data"]["extra"] = 1


def spooled(state):
    [file] = (state / "spool" / "complete").iterdir()
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def engine():
    with run_engine() as one:
        yield one


@pytest.fixture
def service(engine, tmp_path):
    """A service that listens to the user's RunEngine; its catalogue is away, so what is spooled stays."""
    config = ServiceConfig(service={"port": 0, "catalog": NOBODY, "state": tmp_path / "state"}, sink={"kind": "claim"})
    served = Served(BackgroundServer(config, engine=engine).start())
    yield served
    served.close()


def listener(service, **spec):
    service.create("listener", type="brainbox:Listener", actuators=[], sensors=[], listen="all", **spec)
    service.post("agents/listener/start")


def test_each_frame_is_told_as_it_was_measured(service, engine, tmp_path):
    listener(service, evaluate="brainbox:frames")
    md = {"sample": {"name": "gold"}}
    camera = Camera()
    engine.subscribe(spoil)
    engine(bp.count([camera], num=10, md=md))
    md["sample"]["name"] = camera.settings["roi"] = "changed"
    wait_until(
        lambda: service.status("listener")["counts"] and service.post("agents/listener/report")["report"]["points"]
    )
    [point] = service.post("agents/listener/report")["report"]["points"]
    assert point == {f"frame{n}": n for n in range(1, 11)}
    (_, start), (_, descriptor), *events, _ = wait_until(lambda: spooled(tmp_path / "state"))
    assert (start["sample"], "more" in start) == ({"name": "gold"}, False)
    assert descriptor["configuration"]["camera"]["data"]["settings"] == {"roi": [0, 8]}
    assert [event["data"]["frame"] for _, event in events] == [[[float(n)] * 8] * 8 for n in range(1, 11)]


def test_a_page_is_told_as_it_was_emitted(service, engine):
    listener(service, outcome="frame")
    page = {"frame": np.stack([np.full((2, 2), n) for n in (1.0, 3.0)])}

    def emit():
        """Emit a run by hand: few plans make pages."""
        for name, document in [
            ("start", {"uid": "r", "time": 0.0}),
            ("descriptor", {"uid": "d", "run_start": "r", "name": "primary", "data_keys": {"frame": {}}}),
            ("event_page", {"uid": ["a", "b"], "descriptor": "d", "seq_num": np.array([1, 2]), "data": page}),
        ]:
            engine.dispatcher.process(name, document)
        page["frame"][:] = 9
        engine.dispatcher.process("stop", {"uid": "s", "run_start": "r", "exit_status": "success"})

    dispatch = engine.dispatcher.process
    engine.dispatcher.process = lambda name, document: dispatch(DocumentNames[name], document)
    emit()
    points = wait_until(lambda: service.post("agents/listener/report")["report"]["points"])
    assert points == [{"frame": 2.0}]


def test_a_function_that_changes_the_run_changes_it_for_nobody_else(start):
    served = start()
    listener(served, outcome="signal")
    served.post("agents/listener/pause")  # it hears of the runs after they were changed
    served.create("vandal", evaluate="brainbox:vandal", executor="thread", loop={"max_runs": 3})
    served.post("agents/vandal/start")
    served.until("vandal", "stopped")
    served.post("agents/listener/resume")
    points = wait_until(lambda: len(found := served.post("agents/listener/report")["report"]["points"]) == 3 and found)
    measured = [one["outcome"]["signal"] for one in served.suggestions("vandal")]
    assert [one["signal"] for one in points] == measured
    assert -1e6 not in measured
