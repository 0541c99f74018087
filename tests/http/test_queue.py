"""Stop buttons: pause, resume and abort of the plan queue."""

import pytest
import rig
from services import wait_until


@pytest.fixture
def gate():
    """The gated plan waits in its run until the test opens the gate."""
    rig.gate.clear()
    rig.measuring.clear()
    yield rig
    rig.gate.set()


@pytest.fixture
def measuring(start, gate):
    """A service whose agent is in the middle of a run."""
    service = start()
    service.create("moving", plan="gated", loop={"max_runs": 2})
    service.post("agents/moving/start")
    wait_until(gate.measuring.is_set)
    return service


def test_abort_stops_the_run_and_latches(measuring, gate):
    [current] = measuring.suggestions("moving", state="running") or measuring.suggestions("moving")
    assert measuring.get("queue")["current"] == current["id"]
    answer = measuring.post("queue/abort", {"reason": "smoke"})
    assert (answer["state"], answer["reason"]) == ("held", "smoke")
    status = measuring.until("moving", "paused")
    assert (status["reason"], status["held"]) == ("the queue is held: smoke", True)
    failed = wait_until(lambda: measuring.suggestions("moving", state="failed"))
    assert "smoke" in failed[0]["reason"]
    found = measuring.problem("POST", "agents/moving/resume", 409, "queue_held")
    assert "until somebody resumes it" in found["detail"]
    measuring.create("other")
    measuring.problem("POST", "agents/other/start", 409, "queue_held")
    gate.gate.set()
    assert measuring.post("queue/resume")["state"] in ("idle", "running")
    assert measuring.until("moving", "stopped")["progress"]["done"] == 2


def test_abort_of_an_idle_queue_latches_too(start):
    service = start()
    assert service.get("queue")["state"] == "idle"
    assert service.post("queue/abort")["state"] == "held"
    assert service.post("queue/resume")["state"] == "idle"


def test_a_hold_survives_a_restart_of_the_service(tmp_path):
    from services import running

    with running(tmp_path / "state") as service:
        service.post("queue/abort", {"reason": "interlock"})
    with running(tmp_path / "state") as service:
        queue = service.get("queue")
        assert (queue["state"], queue["reason"]) == ("held", "interlock")
        service.post("queue/resume")
    with running(tmp_path / "state") as service:
        assert service.get("queue")["state"] == "idle"


def test_pause_and_resume_a_run(measuring, gate):
    assert measuring.post("queue/pause")["state"] in ("paused", "running")
    wait_until(lambda: measuring.get("queue")["state"] == "paused")
    assert measuring.get("queue")["reason"] == "paused by owner"
    gate.gate.set()
    assert measuring.status("moving")["progress"]["done"] == 0
    measuring.post("queue/resume")
    assert measuring.until("moving", "stopped")["progress"]["done"] == 2


def test_a_person_s_pause_outlasts_a_hold(measuring, gate):
    measuring.post("agents/moving/pause")
    measuring.post("queue/abort")
    measuring.post("queue/resume")
    gate.gate.set()
    assert measuring.status("moving")["state"] == "paused"
    assert measuring.status("moving")["reason"] == "paused by a person"
