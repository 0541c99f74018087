"""Texts, states, whole numbers and switches on real devices: channels of EPICS, and signals of ophyd-async.

The RunEngine is in a process of its own, which reads the environment of Channel Access when it imports ophyd.
"""

import json
import os
import subprocess
import sys

import pytest
from service_process import SUPPORT
from services import running, wait_until
from typed_ioc import TypedIoc

EPICS = {
    "filt": {"type": "choice", "values": ["none", "Al", "Ti"]},
    "label": {"type": "text"},
    "turns": {"type": "int", "low": -(2**31), "high": 2**31 - 1},
    "lamp": {"type": "int", "low": 0, "high": 1},
}
POINTS = [
    {"filt": "Al", "label": "first", "turns": 2**31 - 1, "lamp": 1},
    {"filt": "Ti", "label": "", "turns": -3, "lamp": 0},
    {"filt": "none", "label": "1", "turns": 0, "lamp": 1},
]
ASYNC = {**{name: EPICS[name] for name in ("filt", "label", "turns")}, "lamp": {"type": "bool"}}
ASYNC_POINTS = [
    {"filt": "Al", "label": "first", "turns": 2**53 + 1, "lamp": True},
    {"filt": "Ti", "label": "", "turns": -3, "lamp": False},
]
ASYNC["turns"] = {"type": "int"}


@pytest.fixture
def channels(tmp_path, monkeypatch):
    with TypedIoc() as ioc:
        for name, value in ioc.env.items():
            monkeypatch.setenv(name, value)
        yield


def agent(space, points, **fields):
    about = {"actuators": list(space), "sensors": ["flux"], "outcome": "flux", "space": space}
    about |= {"objectives": {"flux": "maximize"}}
    config = {"points": points, "offers": {}}
    return {
        "type": "brainbox:Mixed",
        "config": config,
        "executor": "thread",
        "loop": {"max_runs": 5},
        **about,
        **fields,
    }


def exact(points, space):
    return [{name: (type(one[name]), repr(one[name])) for name in space if name in one} for one in points]


def told(service, name):
    return service.post(f"agents/{name}/report")["report"]["told"]


def tour(service, space, points, best):
    """Measure points; go to the best; hear of them as a listener, and by a warm start."""
    service.create("listener", **agent(space, [], listen="all"))
    service.post("agents/listener/start")
    service.create("mixed", **agent(space, points, loop={"max_runs": len(points)}))
    service.post("agents/mixed/start")
    stopped = service.until("mixed", "stopped", "failed", within_s=60)
    assert stopped["progress"]["done"] == len(points), (stopped["reason"], stopped["last_error"])
    assert exact([one["point"] for one in service.suggestions("mixed")], space) == exact(points, space)
    heard = wait_until(lambda: len(found := told(service, "listener")) == len(points) and found, within_s=60)
    assert exact(heard, space) == exact(points, space)
    service.post("agents/listener/stop")
    moved = service.post("agents/mixed/go-to-best")
    assert exact([moved["point"]], space) == exact([best], space)
    uids = [one["run_uid"] for one in service.suggestions("mixed")]
    service.create("warm", **agent(space, [], warm_start=uids))
    service.post("agents/warm/start?paused=true")
    service.until("warm", "paused", "failed", within_s=60)
    assert exact(told(service, "warm"), space) == exact(points, space)
    service.post("agents/warm/stop")


@pytest.mark.timeout(300)
def test_channels_of_epics(tmp_path, channels):
    section = {"startup": "beamline_of_channels", "process": True, "waits_s": 5}
    with running(tmp_path / "state", run_engine=section, service={"catalog": "embedded"}) as service:
        tour(service, EPICS, POINTS, POINTS[0])
        assert read("filt", "label", "turns", "lamp") == ["Al", "first", "2147483647", "1"]


@pytest.mark.timeout(300)
def test_signals_of_ophyd_async(tmp_path):
    section = {"startup": "beamline_of_states", "process": True, "waits_s": 5}
    with running(tmp_path / "state", run_engine=section, service={"catalog": "embedded"}) as service:
        tour(service, ASYNC, ASYNC_POINTS, ASYNC_POINTS[0])


CLAIM = """
import importlib, json, sys
from bluesky import RunEngine
from agent_service import Client, run_agent
from agent_service.launch.background import BackgroundServer
from agent_service.service.config import ServiceConfig

startup, state, body = sys.argv[1:]
beamline = importlib.import_module(startup)
RE = getattr(beamline, "RE", None) or RunEngine({}, context_managers=[])
config = ServiceConfig(service={"port": 0, "catalog": "none", "state": state}, sink={"kind": "claim"})
server = BackgroundServer(config, engine=RE).start()
with Client(server.url, api_key=server.api_key) as client:
    spec = json.loads(body)
    client.create(name="mixed", **spec)
    devices = [getattr(beamline, name) for name in (*spec["actuators"], *spec["sensors"])]
    RE(run_agent("mixed", devices=devices, client_or_url=client))
    status = client.wait("mixed", within_s=60)
    points = [one.point for one in client.suggestions("mixed", state="ingested")]
    print(json.dumps([points, status.best.point]))
server.close()
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("startup", ["beamline_of_channels", "beamline_of_states"])
def test_claims_of_somebody_elses_run_engine(tmp_path, channels, startup):
    space, points = (EPICS, POINTS) if startup == "beamline_of_channels" else (ASYNC, ASYNC_POINTS)
    body = json.dumps(agent(space, points, loop={"max_runs": len(points)}))
    command = [sys.executable, "-c", CLAIM, startup, str(tmp_path / "state"), body]
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    measured, best = json.loads(done.stdout.splitlines()[-1])
    assert exact(measured, space) == exact(points, space)
    assert exact([best], space) == exact([points[0]], space)


def read(*names):
    """Return channels as a client of Channel Access reads them."""
    script = (
        "import sys\nfrom caproto.sync.client import read\n"
        "for name in sys.argv[1:]:\n"
        "    answer = read('typed:' + name, timeout=20, repeater=False, data_type='native')\n"
        "    data = answer.data\n"
        "    text = ['none', 'Al', 'Ti'][data[0]] if name == 'filt' else data[0]\n"
        "    print(text.decode() if isinstance(text, bytes) else text)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
