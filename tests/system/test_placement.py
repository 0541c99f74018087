"""Where agents live: what auto means in which home, and what comes from a notebook in a process of its own."""

import os
import subprocess
import sys
import threading

import pytest
from services import Served, wait_until

import agent_service
from agent_service import references
from agent_service.brains import live_objects
from agent_service.launch.background import BackgroundServer
from agent_service.service.config import ServiceConfig


class Walker:
    """A brain as it stands in a notebook."""

    def __init__(self, step=1.0):
        self.step = step
        self.n = 0
        self.points = []

    @agent_service.variable
    def pid(self):
        """Where it lives."""
        return os.getpid()

    def suggest(self, num_points=None):
        self.n += 1
        return [{"x": self.n * self.step, "y": 0.0}]

    def ingest(self, points):
        self.points.extend(points)

    def report(self):
        return {"n": len(self.points), "signals": [one["signal"] for one in self.points]}


class Locked(Walker):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def twice_the_peak(run, suggestions):
    return [{"signal": 2 * float(run.data("signal").max()) + os.getpid() * 1000} for _ in suggestions]


@pytest.fixture(scope="module")
def headless(tmp_path_factory):
    section = {"port": 0, "catalog": "none", "state": tmp_path_factory.mktemp("headless")}
    config = ServiceConfig(service=section, run_engine={"startup": "rig"})
    with BackgroundServer(config, headless=True) as server:
        one = Served(server)
        yield one
        one.http.close()


@pytest.fixture
def register():
    made = []

    def make(thing):
        made.append(live_objects.register(thing))
        return made[-1]

    yield make
    for one in made:
        references.forget(one)


def lived(service, name, **spec):
    """Create an agent, let it make two runs, and return its status and where it was."""
    service.create(name, **{"type": "crashing_brain:CrashingBrain", "loop": {"max_runs": 2}, **spec})
    service.post(f"agents/{name}/start", None)
    wait_until(lambda: service.status(name)["state"] in ("running", "stopped", "failed"))
    status = service.until(name, "stopped", "failed")
    assert status["state"] == "stopped", status["reason"]
    pid = next(one["value"] for one in service.get(f"agents/{name}/variables")["items"] if one["name"] == "pid")
    return status, pid


def test_auto_in_a_headless_service_is_a_process(headless):
    status, pid = lived(headless, "auto")
    assert (status["executor"], status["executor_reason"]) == ("process", "auto: the service is headless")
    assert pid != os.getpid()
    status, pid = lived(headless, "threaded", executor="thread")
    assert (status["executor"], status["executor_reason"], pid) == ("thread", None, os.getpid())


def test_auto_in_a_notebook_is_a_thread_but_for_a_memory_limit(start):
    service = start()
    status, pid = lived(service, "auto")
    assert (status["executor"], pid) == ("thread", os.getpid())
    assert status["executor_reason"].startswith("auto: the service shares its process")
    status, pid = lived(service, "limited", memory_limit_mb=512)
    assert status["executor"] == "process"
    assert pid != os.getpid()


def test_the_status_says_it_before_the_first_start(headless):
    said = headless.create("fresh")
    assert (said["executor"], said["executor_reason"]) == ("process", "auto: the service is headless")


def test_live_objects_travel(headless, register):
    brain = Walker(step=0.25)
    status, pid = lived(headless, "object", type=register(brain), evaluate=register(twice_the_peak))
    assert status["executor"] == "process"
    assert brain.points == [], "the object itself was not touched"
    assert pid != os.getpid()
    assert status["best_by_model"] is None
    headless.http.patch("/api/v1/agents/object", json={"loop": {"max_runs": 3}})
    headless.post("agents/object/start")
    headless.until("object", "stopped")
    found = headless.suggestions("object")
    assert sorted(one["point"]["x"] for one in found) == [0.25, 0.5, 0.75], "the second goes on as the first"
    assert all(one["outcome"]["signal"] // 1000 != os.getpid() for one in found), "evaluated there too"
    status, pid = lived(headless, "class", type=register(Walker), config={"step": 2.0})
    assert status["executor"] == "process"


def test_what_does_not_travel_stays_and_says_why(headless, register):
    status, pid = lived(headless, "locked", type=register(Locked()))
    assert (status["executor"], pid) == ("thread", os.getpid())
    assert "does not pickle" in status["executor_reason"]
    assert "lock" in status["executor_reason"]


def test_what_must_travel_and_cannot_is_refused_at_once(headless, register):
    for more in ({"executor": "process"}, {"memory_limit_mb": 512}):
        body = {"name": "refused", "type": register(Locked()), "actuators": ["x"], "outcome": "signal", **more}
        found = headless.problem("POST", "agents", 422, "invalid_input", json=body)
        assert found["errors"][0]["field"] == "executor"
        assert "does not pickle" in found["detail"]
        assert 'set executor = "thread"' in found["detail"]
    assert "refused" not in [one["name"] for one in headless.get("agents")["items"]]


def test_a_thread_cannot_be_limited(headless):
    body = {"name": "limited", "type": "sobol", "outcome": "signal", "executor": "thread", "memory_limit_mb": 512}
    found = headless.problem("POST", "agents", 422, "invalid_input", json=body)
    assert "a thread cannot be limited" in found["detail"]


def test_a_type_that_dies_at_its_import_takes_nobody_along(headless, tmp_path, monkeypatch):
    (tmp_path / "deadly_import.py").write_text("import ctypes\nctypes.string_at(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    body = {"name": "deadly", "type": "deadly_import:Agent", "actuators": ["x"], "outcome": "signal"}
    found = headless.problem("POST", "agents", 502, "agent_fault", json=body)
    assert "killed by SIGSEGV" in found["detail"]
    assert headless.get("service")["state_dir"]


def test_errors_of_a_type_are_as_precise_as_in_a_thread(headless):
    found = headless.problem(
        "POST",
        "agents",
        422,
        "invalid_config",
        json={"name": "wrong", "type": "sobol", "config": {"bounds": {"x": [1, "a"]}}, "outcome": "signal"},
    )
    assert [one["field"] for one in found["errors"]] == ["config.bounds.x.1"]


SCRIPT = """
import os, time
import agent_service

class Mine:                       # no guard around what follows, as in a notebook
    def __init__(self): self.points = []
    @agent_service.variable
    def pid(self): return os.getpid()
    def suggest(self, num_points=None): return [{"mirror_x": float(len(self.points)) * scale}]
    def ingest(self, points): self.points.extend(points)

scale = 0.5
print("once")
spec = dict(actuators=["mirror_x"], sensors=["flux"], outcome="flux", executor="process", loop={"max_runs": 3})
with agent_service.serve({"klass": Mine, "object": Mine()}, catalog="none", start=True, **spec) as service:
    client = service.client
    for name in ("klass", "object"):
        status = client.wait(name, within_s=60)
        [pid] = [one.value for one in client.variables(name) if one.name == "pid"]
        print(name, status.state.value, status.executor, pid != os.getpid(), status.reason)
"""


@pytest.mark.parametrize("how", ["script", "command"])
def test_classes_of_main_live_in_processes(tmp_path, how):
    path = tmp_path / "prototype.py"
    path.write_text(SCRIPT)
    command = [sys.executable, str(path)] if how == "script" else [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "once"
    assert lines == [f"{name} stopped process True max_runs reached (3 of 3)" for name in ("klass", "object")]
