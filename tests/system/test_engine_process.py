"""The RunEngine in a process of its own: whichever of the two dies, each suggestion has one fate and one run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from service_process import NOBODY, SUPPORT
from services import running, wait_until

from agent_service.errors import UsageError
from agent_service.plans.sinks.engine_process import _steering
from agent_service.service import compose

AGENT = {
    "type": "sequence",
    "actuators": ["x"],
    "sensors": ["signal"],
    "outcome": "signal",
    "executor": "thread",
    "loop": {"max_failures": 10},
}


def points(*positions):
    return {"points": [{"x": float(one)} for one in positions]}


@pytest.fixture
def gates(tmp_path, monkeypatch):
    """A folder whose files let plans go on, here and in what is started from here."""
    folder = tmp_path / "gates"
    folder.mkdir()
    monkeypatch.setenv("GATES", str(folder))
    monkeypatch.setenv("AGENT_SERVICE_RUN_ENGINE__PROCESS", "true")
    monkeypatch.setenv("AGENT_SERVICE_RUN_ENGINE__WAITS_S", "30")
    monkeypatch.setenv("AGENT_SERVICE_RUN_ENGINE__STARTUP", "engine_rig")
    return folder


@pytest.fixture
def apart(tmp_path, gates):
    """A service in this process, whose RunEngine has a process of its own."""
    with running(tmp_path / "state", run_engine={"startup": "engine_rig", "process": True, "waits_s": 5}) as one:
        yield one


def engine_of(pid):
    """Return the process of the RunEngine that a service has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    found = [child for child in children if b"engine_process" in Path(f"/proc/{child}/cmdline").read_bytes()]
    [engine] = found
    return engine


def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def runs_in_spool(state):
    """Return the documents of the complete runs, those that ended first first."""
    files = sorted((state / "spool" / "complete").glob("*.jsonl"))
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]


def fates(client, name="agent"):
    return [one.state for one in client.suggestions(name, limit=50)]


def test_a_killed_engine_fails_the_run_under_way_and_comes_back_by_itself(process, gates):
    process.configure(NOBODY)
    with process.start() as client:
        engine = engine_of(process.child.pid)
        client.create(name="agent", config=points(0, 2), plan="gated", **AGENT)
        client.start("agent")
        spooled = process.state / "spool" / "open"
        wait_until(lambda: any('["event"' in file.read_text() for file in spooled.glob("*.jsonl")))
        os.kill(engine, signal.SIGKILL)
        (gates / "open").touch()
        wait_until(lambda: client.agent("agent").state == "stopped", within_s=60)
        failed, ingested = client.suggestions("agent")
        assert (failed.state, ingested.state) == ("failed", "ingested")
        assert "was killed by SIGKILL during the plan" in failed.reason
        first, second = runs_in_spool(process.state)
        assert first[0][1]["agent_suggestion_uid"] == failed.id
        assert first[-1][1]["exit_status"] == "fail"
        assert first[-1][1]["reason"] == "interrupted: the RunEngine's process was killed by SIGKILL"
        assert first[-1][1]["num_events"] == {"primary": 1}
        assert (second[-1][1]["exit_status"], second[0][1]["scan_id"]) == ("success", first[0][1]["scan_id"] + 1)
        assert client.service().queue.state == "idle"
        again = engine_of(process.child.pid)
        assert again != engine
    assert process.end(signal.SIGTERM)[0] == 0
    assert ended(again)


@pytest.mark.parametrize("catalog", [NOBODY, "none"])
def test_a_run_goes_on_while_the_service_is_away_and_its_next_life_takes_it_over(process, gates, catalog):
    process.configure(catalog)
    with process.start() as client:
        engine = engine_of(process.child.pid)
        client.create(name="agent", config=points(0, 2, 3), plan="gated", **AGENT)
        client.start("agent")
        wait_until((gates / "measuring").exists)
        wait_until(lambda: "running" in fates(client))
    process.child.kill()
    process.child.communicate()
    (gates / "open").touch()
    with process.start() as client:
        assert not ended(engine)
        wait_until(lambda: client.agent("agent").state == "stopped", within_s=60)
        suggestions = client.suggestions("agent")
        assert [one.state for one in suggestions] == ["ingested"] * 3
        assert [one.retry_of for one in suggestions] == [None] * 3
        begun = (gates / "begun").read_text().split()
        assert begun == [one.id for one in suggestions], "each was measured once"
        if catalog == NOBODY:
            runs = runs_in_spool(process.state)
            assert [run[0][1]["agent_suggestion_uid"] for run in runs] == begun
            assert [run[-1][1]["num_events"] for run in runs] == [{"primary": 2}] * 3
            assert [len([1 for name, _ in run if name == "event"]) for run in runs] == [2] * 3
    process.end(signal.SIGTERM)
    assert ended(engine)


def test_a_stop_drains_and_ends_the_engine_too(process, gates):
    process.configure(NOBODY)
    with process.start() as client:
        engine = engine_of(process.child.pid)
        client.create(name="agent", config=points(0, 2), plan="gated", **AGENT)
        client.start("agent")
        wait_until((gates / "measuring").exists)
    code, _ = process.end(signal.SIGTERM)
    assert code == 0
    assert ended(engine)
    [run] = runs_in_spool(process.state)
    assert (run[-1][1]["exit_status"], run[-1][1]["reason"]) == ("abort", "the service stops")
    (gates / "open").touch()
    with process.start() as client:
        wait_until(lambda: client.agent("agent").state == "stopped", within_s=60)
        states = [(one.state, one.retry_of is None) for one in client.suggestions("agent")]
        assert states.count(("abandoned", True)) == 1, "what the stop cut off is measured again, as a new one"
        assert states.count(("ingested", False)) == 1
    process.end(signal.SIGTERM)


def test_an_engine_without_a_service_ends_by_itself(process, gates, monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_RUN_ENGINE__WAITS_S", "0.2")
    process.configure(NOBODY)
    with process.start() as client:
        engine = engine_of(process.child.pid)
        client.create(name="agent", config=points(0, 2, 3, 4), plan="gated", **AGENT)
        client.start("agent")
        wait_until((gates / "measuring").exists)
    process.child.kill()
    process.child.communicate()
    (gates / "open").touch()
    wait_until(lambda: ended(engine), what="the end of the engine")
    assert len((gates / "begun").read_text().split()) <= 2, "the one under way and the one handed ahead"


def test_a_device_that_crashes_its_process_is_felt_by_nobody_else(apart):
    agent = {**AGENT, "sensors": ["crashing"], "evaluate": None}
    apart.create("agent", config=points(0, 1, 2), plan="misused", **agent)
    apart.post("agents/agent/start")
    apart.until("agent", "stopped", within_s=60)
    states = [(one["state"], one["reason"]) for one in apart.suggestions("agent")]
    assert [state for state, _ in states] == ["ingested", "failed", "ingested"]
    assert "was killed by SIGSEGV during the plan" in states[1][1]


def test_a_device_that_holds_the_interpreter_holds_up_nobody_and_a_stop_stops_it(apart, gates, monkeypatch):
    monkeypatch.setattr(_steering, "ABORTS_WITHIN_S", 0.5)
    agent = {**AGENT, "sensors": ["holding"]}
    apart.create("agent", config=points(1, 0), plan="misused", **agent)
    apart.post("agents/agent/start")
    wait_until((gates / "held").exists)
    assert apart.status("agent")["state"] == "running", "the service answers meanwhile"
    apart.post("queue/abort", {"reason": "smoke in the hutch"})
    [first] = [one for one in apart.suggestions("agent") if one["point"] == {"x": 1.0}]
    wait_until(lambda: apart.suggestions("agent")[0]["state"] == "failed")
    assert "smoke in the hutch" in apart.suggestions("agent")[0]["reason"]
    assert apart.get("queue")["state"] == "held"
    apart.post("queue/resume")
    apart.until("agent", "stopped", within_s=60)
    assert [one["state"] for one in apart.suggestions("agent")] == ["failed", "ingested"], first


def test_large_images_come_whole(apart):
    apart.create("agent", config=points(0.25, 0.5), **{**AGENT, "sensors": ["camera"], "outcome": "camera"})
    apart.post("agents/agent/start")
    apart.until("agent", "stopped", within_s=60)
    assert [one["outcome"] for one in apart.suggestions("agent")] == [{"camera": 0.25}, {"camera": 0.5}]


PROGRAM = """
import sys, tempfile, time
from agent_service.launch.background import BackgroundServer
from agent_service.service.config import ServiceConfig
section = {"port": 0, "catalog": "none", "state": tempfile.mkdtemp()}
agent = {"name": "a", "type": "sobol", "config": {"bounds": {"x": [-1, 1]}}, "actuators": ["x"], "sensors": ["signal"],
         "outcome": "signal", "loop": {"max_runs": 2}}
with BackgroundServer(ServiceConfig(service=section, agents=[agent]), headless=True) as server:
    from agent_service import Client
    client = Client(server.url, api_key=server.api_key)
    client.start("a")
    while client.agent("a").state != "stopped":
        time.sleep(0.05)
    assert client.agent("a").progress.done == 2
    print(sorted({name.partition(".")[0] for name in sys.modules} & {"bluesky", "ophyd", "ophyd_async", "engine_rig"}))
"""


def test_the_service_imports_nothing_of_bluesky(gates):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_what_the_process_cannot_have_is_refused_in_plain_words(apart):
    agent = {"name": "agent", "config": points(0), "plan": "live:scan", **AGENT}
    answer = apart.problem("POST", "agents", 422, "unknown_plan", json=agent)
    assert "'live:scan' is an object of this process" in answer["detail"]
    assert "put the plan into the startup or a module" in answer["detail"]


def test_conditions_are_not_for_a_process(tmp_path, gates):
    conditions = {"beam": "signal > 0"}
    with (
        pytest.raises(UsageError, match=r"^conditions: they are read in the service itself: take run_engine.process"),
        running(tmp_path / "state", run_engine={"startup": "engine_rig", "process": True}, conditions=conditions),
    ):
        pass
    assert not (tmp_path / "state" / "engine.log").exists(), "no process was started for it"


def test_a_service_that_cannot_be_made_lets_go_of_the_process_and_the_directory(tmp_path, gates, monkeypatch):
    def fails(*_):
        raise UsageError("a source cannot be made")

    section = {"startup": "engine_rig", "process": True, "waits_s": 60}
    monkeypatch.setattr(compose, "sources_of", fails)
    with pytest.raises(UsageError, match="a source cannot be made"), running(tmp_path, run_engine=section):
        pass
    monkeypatch.undo()
    engine = engine_of(os.getpid())
    with running(tmp_path, run_engine=section) as service:
        assert service.get("queue")["state"] == "idle"
        assert engine_of(os.getpid()) == engine, "it took the process over"


def test_a_startup_that_cannot_be_loaded_is_said_at_the_start(tmp_path, gates, monkeypatch):
    (tmp_path / "broken.py").write_text("raise RuntimeError('the IOC is down')\n")
    with (
        pytest.raises(UsageError, match=r"broken.py.*the IOC is down"),
        running(tmp_path / "state", run_engine={"startup": str(tmp_path / "broken.py"), "process": True}),
    ):
        pass
