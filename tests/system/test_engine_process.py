"""The RunEngine in a process of its own: whichever of the two dies, each suggestion has one fate and one run."""

import asyncio
import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from beam_ioc import BeamIoc
from pydantic import ValidationError
from service_process import NOBODY, SUPPORT
from services import running, wait_until

from agent_service import references
from agent_service.errors import ServiceError, UsageError
from agent_service.plans.sinks import engine_settings
from agent_service.plans.sinks.engine_process import EngineLauncher, EngineLink, _link, _pulse, _steering
from agent_service.plans.sinks.engine_settings import EngineSettings
from agent_service.service import compose
from agent_service.service.check import check
from agent_service.service.compose_engine import lives_apart
from agent_service.service.config import RunEngineSection, ServiceConfig
from agent_service.state_dir import engine_socket

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
def register():
    """Register live objects, and forget them when the test is over."""
    made = []

    def register(thing):
        made.append(references.add(f"test-{len(made)}", thing))
        return made[-1]

    yield register
    for reference in made:
        references.forget(reference)


@pytest.fixture
def apart(tmp_path, gates):
    """A service in this process, whose RunEngine has a process of its own."""
    with running(tmp_path / "state", run_engine={"startup": "engine_rig", "process": True, "waits_s": 5}) as one:
        yield one


def engine_of(pid):
    """Return the process of the RunEngine that a service has started."""

    def engines():
        children = []
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread that has ended, and its children are another's
                children += [int(child) for child in (task / "children").read_text().split()]
        return [child for child in children if b"engine_process" in Path(f"/proc/{child}/cmdline").read_bytes()]

    [engine] = wait_until(engines, what="the RunEngine's process")
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


def test_an_engine_that_is_killed_is_noticed_though_a_process_lives_that_its_plan_forked(process, gates):
    with process.start() as client:
        client.create(name="agent", config=points(0), plan="forking", **AGENT)
        client.start("agent")
        wait_until((gates / "measuring").exists)
        os.kill(engine_of(process.child.pid), signal.SIGKILL)
        try:
            wait_until(lambda: fates(client) == ["failed"], what="the end of the plan")
        finally:
            os.kill(int((gates / "forked").read_text()), signal.SIGKILL)
        assert "was killed by SIGKILL during the plan" in client.suggestions("agent")[0].reason


def test_what_plans_print_fills_no_disk(apart, gates, tmp_path):
    log = tmp_path / "state" / "engine.log"
    apart.create("agent", **{**AGENT, "config": points(0), "plan": "printing"})
    apart.post("agents/agent/start")
    wait_until(log.with_suffix(".log.1").exists, what="a log that is put aside")
    (gates / "aside").touch()
    wait_until(lambda: "said since" in log.read_text(), what="what is printed since")
    assert log.stat().st_size < 1000
    (gates / "open").touch()
    apart.until("agent", "stopped")


def killed_in_a_run(process, gates, catalog):
    """Kill a service in the first of three runs, and return its RunEngine's process, which goes on."""
    process.configure(catalog)
    with process.start() as client:
        engine = engine_of(process.child.pid)
        client.create(name="agent", config=points(0, 2, 3), plan="gated", **AGENT)
        client.start("agent")
        wait_until((gates / "measuring").exists)
        wait_until(lambda: "running" in fates(client))
    process.child.kill()
    process.child.communicate()
    return engine


@pytest.mark.parametrize("catalog", [NOBODY, "none"])
def test_a_run_goes_on_while_the_service_is_away_and_its_next_life_takes_it_over(process, gates, catalog):
    engine = killed_in_a_run(process, gates, catalog)
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


def serving(process):
    """Start a service, and wait for nothing."""
    command = [sys.executable, "-m", "agent_service", "serve", "service.toml"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        command, cwd=process.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def test_a_service_that_cannot_start_leaves_the_run_under_way_alone(process, gates):
    killed_in_a_run(process, gates, NOBODY)
    config = process.folder / "service.toml"
    good = config.read_text()
    agent = 'name = "other"\ntype = "nothing:Here"\nactuators = ["x"]\nsensors = ["signal"]\noutcome = "signal"'
    config.write_text(f"{good}[[agents]]\n{agent}\n")
    with serving(process) as child:
        assert "nothing" in child.communicate(timeout=60)[1]
    assert child.returncode != 0
    config.write_text(good)
    (gates / "open").touch()
    with process.start() as client:
        wait_until(lambda: client.agent("agent").state == "stopped", within_s=60)
        assert (gates / "begun").read_text().split() == [one.id for one in client.suggestions("agent")]
        assert fates(client) == ["ingested"] * 3
    process.end(signal.SIGTERM)


@pytest.mark.long
@pytest.mark.parametrize("ends", [[signal.SIGTERM], [signal.SIGKILL], [signal.SIGTERM, "again"]])
def test_what_was_measured_while_the_disk_was_full_counts_however_the_service_ends(process, gates, ends, monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_SERVICE__GRACE_S", "4")
    process.configure(NOBODY)
    with process.start() as client:
        engine = engine_of(process.child.pid)
        client.create(name="agent", config=points(2), plan="gated", **AGENT)
        client.start("agent")
        wait_until((gates / "measuring").exists)
        wait_until(lambda: "running" in fates(client))
        resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        (gates / "open").touch()
        wait_until(lambda: not client.ready().ready, within_s=60)
        code, said = process.end(ends[0])
    assert (code, "Traceback" in said) == (0 if ends[0] == signal.SIGTERM else -signal.SIGKILL, False), said
    assert runs_in_spool(process.state) == []
    assert not ended(engine), "it has what the disk did not take"
    if "again" in ends:
        with serving(process) as child:  # killed as soon as it has the run of before on disk
            wait_until(lambda: runs_in_spool(process.state) or child.poll() is not None, within_s=60)
            child.kill()
    with process.start() as client:
        wait_until(lambda: client.agent("agent").state == "stopped", within_s=60)
        [one] = client.suggestions("agent")
        assert (one.state, one.outcome) == ("ingested", {"signal": -3.0})
        assert (gates / "begun").read_text().split() == [one.id], "it was measured once"
        [run] = runs_in_spool(process.state)
        assert [name for name, _ in run] == ["start", "descriptor", "event", "event", "stop"]
        assert (run[0][1]["uid"], run[-1][1]["exit_status"]) == (one.run_uid, "success")
    process.end(signal.SIGTERM)


def test_a_stop_stops_though_the_disk_is_full(process, gates):
    process.configure("none")
    with process.start() as client:
        client.create(name="agent", config=points(0, 2), plan="gated", **AGENT)
        client.start("agent")
        wait_until((gates / "measuring").exists)
        wait_until(lambda: "running" in fates(client))
        resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE, (4, resource.RLIM_INFINITY))
        with contextlib.suppress(ServiceError):  # what it says of the full disk
            client.abort_queue("smoke")
        wait_until(lambda: (queue := client.queue()).state == "held" and queue.current is None, what="the plan's end")
        assert not (gates / "open").exists()
        resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_until(lambda: fates(client)[0] == "failed", what="its fate")
    assert len((gates / "begun").read_text().split()) == 1
    process.end(signal.SIGTERM)


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


def test_a_second_start_on_a_state_directory_disturbs_no_run(process, gates):
    process.configure(NOBODY)
    with process.start() as client:
        engine = engine_of(process.child.pid)
        client.create(name="agent", config=points(0, 2), plan="gated", **AGENT)
        client.start("agent")
        wait_until((gates / "measuring").exists)
        assert engine_socket.lives(process.state), "who only looks says nothing"
        command = [sys.executable, "-m", "agent_service", "serve", "service.toml", "--port", "0"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])}
        second = subprocess.run(
            command, cwd=process.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode != 0, second.stdout
        (gates / "open").touch()
        wait_until(lambda: client.agent("agent").state == "stopped", within_s=60)
        assert fates(client) == ["ingested"] * 2
        assert engine_of(process.child.pid) == engine
    process.end(signal.SIGTERM)


async def told_to_end(state):
    """Have the process of a service that is no more end its plan, as a service does that stops and is killed then."""
    launcher = EngineLauncher(state, EngineSettings(("engine_rig",)), waits_s=30, keeps_documents=False)
    link = EngineLink(launcher)
    await link.open(EngineSettings(("engine_rig",)))
    assert await link.call("stop", "the service stops", 20.0)
    link.leave()


@pytest.mark.long
@pytest.mark.parametrize("catalog", [NOBODY, "none"])
def test_a_process_that_is_about_to_end_hands_over_what_it_has_and_begins_nothing(process, gates, catalog):
    engine = killed_in_a_run(process, gates, catalog)
    asyncio.run(told_to_end(process.state))
    assert not ended(engine)
    (gates / "open").touch()
    with process.start() as client:
        wait_until(lambda: client.agent("agent").state == "stopped", within_s=60)
        suggestions = client.suggestions("agent", limit=50)
        assert [one.point["x"] for one in suggestions if one.state == "ingested"] == [2, 3], suggestions
        [cut_off] = [one for one in suggestions if one.point["x"] == 0]
        assert (cut_off.state, cut_off.reason) == ("failed", "the service stops")
        wait_until(lambda: ended(engine), what="the end of the process of before")
        if catalog == NOBODY:
            first, *others = runs_in_spool(process.state)
            assert (first[0][1]["agent_suggestion_uid"], first[-1][1]["exit_status"]) == (cut_off.id, "abort")
            assert [run[-1][1]["exit_status"] for run in others] == ["success"] * 2
    process.end(signal.SIGTERM)


def test_a_plan_that_waits_for_the_word_of_a_service_does_not_keep_the_engine_alive(process, gates, monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_RUN_ENGINE__WAITS_S", "0.2")
    process.configure(NOBODY)
    with process.start() as client:
        engine = engine_of(process.child.pid)
        for name in ("first", "second", "third"):
            client.create(name=name, config=points(0), plan="gated", **AGENT)
            client.start(name)
            wait_until(lambda name=name: {"submitted", "running"}.intersection(fates(client, name)))
        wait_until((gates / "measuring").exists)
    process.child.kill()
    process.child.communicate()
    (gates / "open").touch()
    wait_until(lambda: ended(engine), what="the end of the engine")


@pytest.mark.parametrize("by_request", [True, False])
def test_a_resume_that_gets_no_answer_is_not_carried_out_later(apart, gates, monkeypatch, by_request):
    monkeypatch.setattr(_steering, "ABORTS_WITHIN_S", 0.5)
    apart.create("agent", config=points(0), plan="pausing", **AGENT)
    apart.post("agents/agent/start")
    wait_until(lambda: apart.get("queue")["reason"] == "the plan paused itself")
    if by_request:
        apart.post("queue/pause")
    engine = engine_of(os.getpid())
    os.kill(engine, signal.SIGSTOP)
    apart.problem("POST", "queue/resume", 503, "backend_unavailable")
    os.kill(engine, signal.SIGCONT)
    for name in "abcdefghij":  # each is asked of the process, behind the resume
        apart.create(name, config=points(0), **AGENT)
    assert not (gates / "resumed").exists()
    assert apart.get("queue")["state"] == "paused"
    apart.post("queue/resume")
    apart.until("agent", "stopped", within_s=60)
    assert [one["state"] for one in apart.suggestions("agent")] == ["ingested"]
    assert (gates / "resumed").exists()


def test_an_engine_without_a_service_ends_by_itself(process, gates, monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_RUN_ENGINE__WAITS_S", "0.2")
    process.configure(NOBODY)
    with process.start() as client:
        engine = engine_of(process.child.pid)
        client.create(name="agent", config=points(0, 2, 3, 4), plan="gated", **AGENT)
        client.start("agent")
        wait_until((gates / "measuring").exists)
        [on_disk] = wait_until(lambda: list((process.state / "spool" / "open").glob("*.jsonl")))
    process.kill()
    (gates / "open").touch()
    wait_until(lambda: ended(engine), what="the end of the engine")
    given_up = (gates / "begun").read_text().split()
    assert len(given_up) <= 2, "the one under way and the one handed ahead"
    with process.start() as client:  # the beginning of the first run is on disk, and nothing else of them
        wait_until(lambda: client.agent("agent").state == "stopped", within_s=60)
        suggestions = client.suggestions("agent")
    process.end(signal.SIGTERM)
    assert sorted(one.point["x"] for one in suggestions if one.state == "ingested") == [0, 2, 3, 4]
    assert {one.id for one in suggestions if one.state == "abandoned"} == set(given_up)
    assert {one.retry_of for one in suggestions if one.retry_of} == set(given_up)
    runs = {documents[0][1]["agent_suggestion_uid"]: documents for documents in runs_in_spool(process.state)}
    assert [name for name, _ in runs.pop(given_up[0])][:1] == ["start"]
    assert runs.keys() == {one.id for one in suggestions if one.state == "ingested"}
    assert {documents[-1][1]["exit_status"] for documents in runs.values()} == {"success"}
    assert not on_disk.exists(), "an archive would wait for its end"


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


def test_a_process_that_stands_still_is_said_and_its_run_counts_when_it_goes_on(tmp_path, gates, monkeypatch):
    monkeypatch.setattr(_pulse, "EVERY_S", 0.2)
    monkeypatch.setattr(_pulse, "ANSWERS_WITHIN_S", 5)
    with running(tmp_path / "state", run_engine={"startup": "engine_rig", "process": True, "waits_s": 5}) as service:
        service.create("agent", config=points(0), plan="gated", **AGENT)
        service.post("agents/agent/start")
        wait_until((gates / "measuring").exists)
        engine = engine_of(os.getpid())
        os.kill(engine, signal.SIGSTOP)
        said = wait_until(lambda: service.get("queue")["reason"], what="that it does not answer")
        assert said.startswith("the RunEngine's process has not answered since ")
        os.kill(engine, signal.SIGCONT)
        wait_until(lambda: service.get("queue")["reason"] is None, what="that it does")
        (gates / "open").touch()
        service.until("agent", "stopped")
        assert [one["state"] for one in service.suggestions("agent")] == ["ingested"]


def test_a_device_that_blocks_its_run_engine_is_stopped_when_that_is_asked_once_more(apart, gates):
    apart.create("agent", config=points(1, 0), plan="misused", **{**AGENT, "sensors": ["blocking"]})
    apart.post("agents/agent/start")
    wait_until((gates / "blocked").exists)
    assert "stop everything once more" in apart.post("queue/abort", {"reason": "smoke in the hutch"})["reason"]
    assert apart.suggestions("agent")[0]["state"] == "running"
    apart.post("queue/abort", {"reason": "smoke in the hutch"})
    wait_until(lambda: apart.suggestions("agent")[0]["state"] == "failed")
    assert "smoke in the hutch" in apart.suggestions("agent")[0]["reason"]
    apart.post("queue/resume")
    apart.until("agent", "stopped", within_s=60)
    assert [one["state"] for one in apart.suggestions("agent")] == ["failed", "ingested"]


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
agent = {"name": "a", "type": "sobol", "executor": "thread",
         "config": {"bounds": {"x": [-1, 1]}}, "actuators": ["x"], "sensors": ["signal"],
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
    del environment["AGENT_SERVICE_RUN_ENGINE__PROCESS"]  # a headless service needs not be told
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "[]", done.stderr


NOTEBOOK = """
import threading
import bluesky.plan_stubs as bps
from engine_rig import x

lock = threading.Lock()

def scan(suggestions, actuators, sensors, md=None):
    assert x is actuators[0], "the device of the process itself"
    yield from bps.open_run(md)
    yield from bps.mv(x, 2 * suggestions[0]["x"])
    yield from bps.trigger_and_read([x, *sensors])
    yield from bps.close_run()

def locked(suggestions, actuators, sensors, md=None):
    with lock:
        yield from scan(suggestions, actuators, sensors, md)
"""


def test_a_plan_of_a_notebook_travels_and_uses_the_devices_of_the_process(apart, register):
    cells = {"__name__": "__main__"}
    exec(NOTEBOOK, cells)
    apart.create("agent", config=points(0, 0.5), plan=register(cells["scan"]), **AGENT)
    apart.post("agents/agent/start")
    apart.until("agent", "stopped", within_s=60)
    assert [one["outcome"] for one in apart.suggestions("agent")] == [{"signal": 1.0}, {"signal": 0.0}]
    body = {"name": "other", "config": points(0), "plan": register(cells["locked"]), **AGENT}
    answer = apart.problem("POST", "agents", 422, "unknown_plan", json=body)
    assert "is an object of this process and cannot be sent to the RunEngine's: TypeError" in answer["detail"]
    assert "put it into the startup or a module" in answer["detail"]
    body["plan"] = "live:gone"
    assert "serve the object again" in apart.problem("POST", "agents", 422, "unknown_plan", json=body)["detail"]


def test_conditions_are_watched_in_the_process_and_in_the_next_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = tmp_path / "runs.jsonl"
    section = {"startup": "beamline_with_epics", "process": True, "waits_s": 5}
    conditions = {"beam": {"rule": "ring_current > 100", "settle_s": 0}}
    with BeamIoc() as ioc:
        for name, value in ioc.env.items():
            monkeypatch.setenv(name, value)
        with running(tmp_path / "state", run_engine=section, conditions=conditions) as service:

            def beam(state):
                return wait_until(
                    lambda: (found := service.get("conditions")["items"][0])["state"] == state and found, within_s=60
                )

            wait_until(lambda: beam("met")["signals"][0]["units"] == "mA", within_s=60, what="the signal's units")
            agent = {**AGENT, "sensors": ["det"], "outcome": "det"}
            service.create("agent", config=points(1, 2), plan="until_told", **agent)
            service.post("agents/agent/start")
            wait_until(lambda: begun.exists() and "start" in begun.read_text(), within_s=60)
            ioc.put("current", 0.3)
            beam("lost")
            (tmp_path / "enough").touch()
            void = wait_until(lambda: [one for one in service.suggestions("agent") if one["void"]], within_s=60)
            assert "void, for beam was not met while it was measured: ring_current" in void[0]["reason"]
            os.kill(engine_of(os.getpid()), signal.SIGKILL)
            wait_until(lambda: "was killed by SIGKILL" in service.get("conditions")["items"][0]["text"], within_s=60)
            ioc.put("current", 300)
            beam("met")
            service.until("agent", "stopped", within_s=60)
            ingested = service.suggestions("agent", state="ingested")
            assert sorted(one["point"]["x"] for one in ingested) == [1.0, 2.0], service.suggestions("agent")
            again = {one["retry_of"] for one in service.suggestions("agent")}
            assert {one["id"] for one in service.suggestions("agent") if one["void"]} <= again


@pytest.mark.timeout(600)
def test_the_process_watches_the_conditions_while_the_service_is_away(process, tmp_path, gates, monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_RUN_ENGINE__STARTUP", "beamline_with_epics")
    process.configure("none")
    with (tmp_path / "service.toml").open("a") as toml:
        toml.write('[conditions]\nbeam = { rule = "ring_current > 100", settle_s = 0 }\n')
    log, enough = tmp_path / "runs.jsonl", tmp_path / "enough"

    def begun(number):
        return lambda: log.exists() and log.read_text().count("start") >= number

    def killed_in_the_run(number):
        wait_until(begun(number), within_s=60)
        wait_until(lambda: "running" in fates(client), within_s=60)
        process.kill()

    def let_end(number):
        enough.touch()
        wait_until(lambda: log.read_text().count("stop") >= number, within_s=60)
        enough.unlink()

    with BeamIoc() as ioc:
        for name, value in ioc.env.items():
            monkeypatch.setenv(name, value)
        with process.start() as client:
            agent = {**AGENT, "sensors": ["det"], "outcome": "det", "loop": {"max_pending": 1}}
            client.create(name="agent", config=points(1, 2), plan="until_told", **agent)
            client.start("agent")
            killed_in_the_run(1)
        let_end(1)
        with process.start() as client:
            killed_in_the_run(2)
        ioc.put("current", 0.3)
        ioc.put("current", 300)
        let_end(2)
        with process.start() as client:
            enough.touch()
            wait_until(lambda: client.agent("agent").state == "stopped", within_s=120)
            found = client.suggestions("agent")
        process.end(signal.SIGTERM)
    assert [(one.state, one.point["x"], one.void) for one in found] == [
        ("ingested", 1, False),
        ("abandoned", 2, True),
        ("ingested", 2, False),
    ], found
    assert "beam was not met while it was measured: ring_current 0.3" in found[1].reason


def test_what_is_asked_before_the_plans_of_before_are_taken_over_is_answered(tmp_path, gates):
    limits = {"bounds": {"x": [-3, 3]}}
    with running(
        tmp_path / "state", run_engine={"startup": "engine_rig", "process": True}, guardrails=limits
    ) as service:
        service.create("agent", config=points(4), **AGENT)
        service.post("agents/agent/start")
        service.until("agent", "stopped", within_s=60)
        assert [one["state"] for one in service.suggestions("agent")] == ["rejected"]


def test_the_process_listens_elsewhere_where_the_state_directory_takes_no_socket(tmp_path, gates, monkeypatch):
    @contextlib.contextmanager
    def refused(_):
        raise OSError(errno.EOPNOTSUPP, "no sockets here")
        yield

    monkeypatch.setattr(engine_socket, "short", refused)
    with running(tmp_path / "state", run_engine={"startup": "engine_rig", "process": True}) as service:
        place = Path((tmp_path / "state" / "engine.sock.path").read_text().strip())
        assert (place.parent.stat().st_mode & 0o777, place.parent.stat().st_uid) == (0o700, os.getuid())
        assert service.get("queue")["state"] == "idle"
        assert engine_socket.lives(tmp_path / "state")
    wait_until(lambda: not engine_socket.lives(tmp_path / "state"), what="the end of the process")


def test_a_path_of_any_length_is_short_enough(tmp_path, gates):
    state = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    with running(state, run_engine={"startup": "engine_rig", "process": True}) as service:
        assert service.get("queue")["state"] == "idle"


@pytest.mark.parametrize("refused", ["socket", "Popen"])
def test_where_there_can_be_no_process_it_is_said_what_to_do(tmp_path, gates, monkeypatch, refused):
    def bind(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    module, name = (engine_socket, "bind") if refused == "socket" else (subprocess, "Popen")
    monkeypatch.setattr(module, name, bind)
    with (
        pytest.raises(
            UsageError, match=r"could be started: Operation not permitted; take \[run_engine\] process = false"
        ),
        running(tmp_path / "state", run_engine={"startup": "engine_rig", "process": True}),
    ):
        pass


def test_a_headless_service_has_a_process_where_nobody_says_otherwise_and_the_system_lets_it(monkeypatch, caplog):
    caplog.set_level("INFO")
    section = RunEngineSection()
    assert lives_apart(section, headless=True)
    assert not lives_apart(section, headless=False)
    assert not lives_apart(RunEngineSection(process=False), headless=True)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not lives_apart(section, headless=True)
    assert "needs Linux, and this is darwin; it is a thread of the service" in caplog.text
    with pytest.raises(UsageError, match=r"needs Linux.*take \[run_engine\] process = false"):
        lives_apart(RunEngineSection(process=True), headless=False)


def left_behind(folder, section, monkeypatch):
    """Return the process of a service that could not be made."""

    def fails(*_):
        raise UsageError("a source cannot be made")

    with monkeypatch.context() as patched:
        patched.setattr(compose, "sources_of", fails)
        with pytest.raises(UsageError, match="a source cannot be made"), running(folder, run_engine=section):
            pass
    return engine_of(os.getpid())


def test_a_service_that_cannot_be_made_lets_go_of_the_process_and_the_directory(tmp_path, gates, monkeypatch):
    section = {"startup": "engine_rig", "process": True, "waits_s": 60}
    engine = left_behind(tmp_path, section, monkeypatch)
    with running(tmp_path, run_engine=section) as service:
        assert service.get("queue")["state"] == "idle"
        assert engine_of(os.getpid()) == engine, "it took the process over"


def test_a_process_of_before_that_stands_still_is_killed_before_another_moves_anything(tmp_path, gates, monkeypatch):
    section = {"startup": "engine_rig", "process": True, "waits_s": 60}
    engine = left_behind(tmp_path / "state", section, monkeypatch)
    os.kill(engine, signal.SIGSTOP)
    monkeypatch.setattr(_link, "ANSWERS_WITHIN_S", 0.5)
    with running(tmp_path / "state", run_engine=section) as service:
        assert ended(engine)
        assert service.get("queue")["state"] == "idle"


def test_a_process_whose_socket_was_deleted_is_killed_before_another_moves_anything(tmp_path, gates, monkeypatch):
    section = {"startup": "engine_rig", "process": True, "waits_s": 60}
    engine = left_behind(tmp_path / "state", section, monkeypatch)
    engine_socket.remove(tmp_path / "state")
    with running(tmp_path / "state", run_engine=section) as service:
        assert ended(engine)
        assert service.get("queue")["state"] == "idle"


def test_another_process_of_that_number_is_left_alone(tmp_path, gates, monkeypatch):
    """As after a restart of the machine: the number may be that of another service's process."""
    section = {"startup": "engine_rig", "process": True, "waits_s": 60}
    engine = left_behind(tmp_path / "other", section, monkeypatch)
    (tmp_path / "state").mkdir(mode=0o700)
    noted = (tmp_path / "other" / "engine.pid").read_text().split()
    (tmp_path / "state" / "engine.pid").write_text(" ".join([noted[0], "17"]))
    with running(tmp_path / "state", run_engine=section) as service:
        assert service.get("queue")["state"] == "idle"
        assert not ended(engine)
    with running(tmp_path / "other", run_engine=section):
        assert not ended(engine), "it took the process over"


def test_a_process_of_another_version_is_let_go(tmp_path, gates, monkeypatch):
    section = {"startup": "engine_rig", "process": True, "waits_s": 60}
    engine = left_behind(tmp_path / "state", section, monkeypatch)
    monkeypatch.setattr(engine_settings, "__version__", "99.0")
    with running(tmp_path / "state", run_engine=section) as service:
        assert ended(engine)
        assert service.get("queue")["state"] == "idle"


def test_a_process_whose_state_directory_was_deleted_ends(tmp_path, gates, monkeypatch):
    section = {"startup": "engine_rig", "process": True, "waits_s": 60}
    engine = left_behind(tmp_path / "state", section, monkeypatch)
    shutil.rmtree(tmp_path / "state")
    wait_until(lambda: ended(engine), what="the end of the process")


def test_the_process_uses_the_processors_that_are_named_and_no_other_is_taken_for_one(tmp_path, gates):
    there = os.sched_getaffinity(0)
    section = {"startup": "engine_rig", "process": True, "cpu_affinity": [max(there)]}
    with running(tmp_path / "state", run_engine=section) as service:
        engine = engine_of(os.getpid())
        assert {frozenset(os.sched_getaffinity(int(task.name))) for task in Path(f"/proc/{engine}/task").iterdir()} == {
            frozenset({max(there)})
        }
        assert os.sched_getaffinity(0) == there
        service.create("agent", config=points(0), plan="acquire", **AGENT)
        service.post("agents/agent/start")
        service.until("agent", "stopped")
    section["cpu_affinity"] = [0, 4096]
    says = r"cpu_affinity names processor 4096; those that this service may use are [0-9, ]+$"
    with pytest.raises(UsageError, match=says), running(tmp_path / "other", run_engine=section):
        pass
    [wrong] = check(ServiceConfig(run_engine=section), devices=True)
    assert (wrong.field, "names processor 4096" in wrong.message) == ("run_engine.cpu_affinity", True)
    with pytest.raises(ValidationError, match="leave it out, or process = false"):
        ServiceConfig(run_engine={"process": False, "cpu_affinity": [0]})


def test_a_startup_that_cannot_be_loaded_is_said_at_the_start(tmp_path, gates, monkeypatch):
    (tmp_path / "broken.py").write_text("raise RuntimeError('the IOC is down')\n")
    with (
        pytest.raises(UsageError, match=r"broken.py.*the IOC is down"),
        running(tmp_path / "state", run_engine={"startup": str(tmp_path / "broken.py"), "process": True}),
    ):
        pass
