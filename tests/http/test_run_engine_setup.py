"""The service's RunEngine as a startup sets it up: metadata, baseline, preprocessors, and suspenders that trip."""

import os
import subprocess
import sys

import beamline_with_beam as beamline
import pytest
from services import wait_until

WALK = {"type": "sequence", "actuators": ["x"], "sensors": ["det"], "outcome": "det"}
LOW = "Signal ring = 50 fell below 100 and has not yet crossed above 200.: the ring current is low"


@pytest.fixture(autouse=True)
def _beam():
    beamline.ring.put(300)
    beamline.seen.clear()
    beamline.made_in.clear()
    beamline.moving.clear()
    beamline.go.clear()
    yield
    beamline.ring.put(300)
    beamline.go.set()


@pytest.fixture
def service(start):
    return start(run_engine={"startup": "beamline_with_beam", "md": {"proposal": "P-7"}})


def walk(service, name, *, points=(1.0,), **more):
    service.create(name, **WALK, config={"points": [{"x": at} for at in points]}, **more)
    service.post(f"agents/{name}/start")


def suspended(service):
    return wait_until(lambda: (queue := service.get("queue"))["state"] == "suspended" and queue)


def test_it_has_what_the_startup_gave_it(service):
    before = beamline.memory.get("scan_id")
    walk(service, "a", points=(0.5, 1.5))
    assert service.until("a", "stopped")["counts"]["ingested"] == 2
    assert beamline.made_in == ["run-engine-driver"]
    starts = [document for name, document in beamline.seen if name == "start"]
    assert [one["scan_id"] for one in starts] == [before + 1, before + 2], "numbers go on from RE.md"
    for one in starts:
        assert (one["beamline"], one["cycle"]) == ("XF1", "2026-3")
        assert (one["proposal"], one["agent_name"]) == ("P-7", "a"), "the service's metadata wins"
        assert one["agent_suggestion_uid"]
    streams = {document["name"] for name, document in beamline.seen if name == "descriptor"}
    assert streams == {"primary", "baseline", "pressure_monitor"}
    assert beamline.memory["scan_id"] == before + 2, "and are kept there"


def test_a_plan_waits_for_the_beam_and_says_why(service):
    beamline.ring.put(50)
    walk(service, "a")
    queue = suspended(service)
    assert queue["reason"] == LOW
    assert service.status("a")["state"] == "running"
    assert service.status("a")["suspended"] == LOW
    assert not [name for name, _ in beamline.seen if name == "start"]
    env = {**os.environ, "AGENT_SERVICE_API_KEY": service.server.api_key, "COLUMNS": "300"}
    shown = subprocess.check_output([sys.executable, "-m", "agent_service", "status", service.url], env=env, text=True)
    assert f"suspended ({LOW}), 1 waiting" in shown
    assert f"suspended: {LOW}" in shown
    beamline.ring.put(150)  # above the floor, and below where it resumes
    assert service.get("queue")["state"] == "suspended"
    beamline.ring.put(300)
    status = service.until("a", "stopped")
    assert (status["counts"]["ingested"], status["counts"]["failed"], status["suspended"]) == (1, 0, None)
    assert service.get("queue")["reason"] is None


def test_a_run_that_is_suspended_in_the_middle_goes_on(service):
    walk(service, "a", plan="waits")
    assert beamline.moving.wait(20)
    beamline.ring.put(50)
    assert suspended(service)["reason"] == LOW
    assert service.status("a")["suspended"] == LOW
    [running] = service.suggestions("a", state="running")
    beamline.go.set()
    beamline.ring.put(300)
    assert service.until("a", "stopped")["counts"]["ingested"] == 1
    assert service.suggestions("a", state="ingested")[0]["id"] == running["id"]
    starts = [document for name, document in beamline.seen if name == "start"]
    assert len(starts) == 1


@pytest.mark.parametrize("when", ["before", "during", "as it begins"])
def test_an_abort_ends_what_is_suspended(service, when):
    if when == "before":
        beamline.ring.put(50)
    walk(service, "a", plan="trips" if when == "as it begins" else "waits")
    if when == "during":
        assert beamline.moving.wait(20)
        beamline.ring.put(50)
    assert suspended(service)["reason"] == LOW
    service.post("queue/abort", {"reason": "smoke"})
    queue = wait_until(lambda: (found := service.get("queue"))["current"] is None and found)
    assert queue["state"] == "held"
    service.until("a", "paused")
    wait_until(lambda: not service.suggestions("a", state="running"))
    beamline.ring.put(300)
    assert service.get("queue")["state"] == "held"


@pytest.mark.parametrize("during", [False, True])
def test_a_pause_while_suspended_holds_when_the_beam_is_back(service, during):
    if not during:
        beamline.ring.put(50)
    walk(service, "a", plan="waits")
    if during:
        assert beamline.moving.wait(20)
        beamline.ring.put(50)
    suspended(service)
    service.post("queue/pause")
    assert service.get("queue")["state"] == "paused"
    beamline.ring.put(300)
    beamline.go.set()
    assert service.get("queue")["state"] == "paused"
    service.post("queue/resume")
    assert service.until("a", "stopped")["counts"]["ingested"] == 1


def test_an_agent_whose_plan_waits_for_the_beam_can_be_stopped(service):
    beamline.ring.put(50)
    walk(service, "a")
    suspended(service)
    service.post("agents/a/stop")
    assert service.until("a", "stopped")["state"] == "stopped"
    wait_until(lambda: service.get("queue")["state"] == "idle")
    assert not beamline.seen


def test_the_service_ends_while_the_plan_is_suspended(service):
    walk(service, "a", plan="waits")
    assert beamline.moving.wait(20)
    beamline.ring.put(50)
    suspended(service)
    service.close()
    [stop] = [document for name, document in beamline.seen if name == "stop"]
    assert stop["exit_status"] == "abort"


def test_a_function_that_raises_is_told_in_one_line_and_nothing_is_measured(start):
    service = start(run_engine={"startup": "beamline_with_beam", "configure": "beamline_with_beam:broken"})
    queue = wait_until(lambda: (found := service.get("queue"))["state"] == "held" and found)
    line = beamline.broken.__code__.co_firstlineno + 1
    assert queue["reason"] == (
        "the RunEngine could not be made: configure 'beamline_with_beam:broken' raised "
        "JSONDecodeError: Expecting value: line 1 column 1 (char 0) "
        f"(beamline_with_beam.py, line {line}); mend it and start the service again"
    )
    service.create("a", **WALK, config={"points": [{"x": 1.0}]})
    problem = service.problem("POST", "agents/a/start", 409, "queue_held")
    assert "raised JSONDecodeError" in problem["detail"]
    service.problem("POST", "queue/resume", 503, "backend_unavailable")
    assert service.get("queue")["state"] == "held"
    assert not beamline.seen


@pytest.mark.parametrize(
    ("configure", "says"),
    [
        (
            "beamline_with_beam:nothing",
            "the module 'beamline_with_beam' has no 'nothing'",
        ),
        ("no_such_module:f", "importing 'no_such_module' raised ModuleNotFoundError"),
        ("beamline_with_beam:waits", "is a coroutine or a plan; write it as a plain function"),
        ("beamline_with_beam:memory", "is of type dict, not a function of the RunEngine"),
    ],
)
def test_what_is_no_such_function_is_refused_at_the_start(start, configure, says):
    from agent_service.errors import UsageError

    with pytest.raises(UsageError) as error:
        start(run_engine={"startup": "beamline_with_beam", "configure": configure})
    assert says in error.value.detail
