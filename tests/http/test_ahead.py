"""The next plan of a batch is handed to the RunEngine ahead, and taken back when it is not to run."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import rig
from services import running, wait_until


@pytest.fixture
def gate():
    """The gated plan waits in its run until the test opens the gate."""
    rig.gate.clear()
    rig.measuring.clear()
    yield rig
    rig.gate.set()


def fates(service, name="batch"):
    return [one["state"] for one in service.suggestions(name)]


def begin(service, **loop):
    """Start an agent that suggests three points at once; its first run is under way when this returns."""
    service.create("batch", plan="gated", loop={"n_points": 3, "max_runs": 3, **loop})
    service.post("agents/batch/start")
    wait_until(lambda: fates(service)[:1] == ["running"])
    return service


@pytest.fixture
def ahead(start, gate):
    """The first of three is measured, the second is in the queue."""
    service = begin(start())
    wait_until(lambda: fates(service) == ["running", "submitted", "approved"])
    assert service.get("queue")["pending"] == 1
    return service


def assert_measured_once(service, *, of=3):
    facts = service.get("agents/batch/history", limit=1000)["items"]
    fates = [one["data"] for one in facts if one["kind"] == "suggestion.state"]
    runs = Counter(one["id"] for one in fates if one["state"] == "running")
    assert len(runs) == of
    assert set(runs.values()) == {1}


def test_pause_takes_it_back(ahead, gate):
    ahead.post("agents/batch/pause")
    wait_until(lambda: fates(ahead) == ["running", "approved", "approved"])
    gate.gate.set()
    wait_until(lambda: fates(ahead) == ["ingested", "approved", "approved"])
    assert ahead.get("queue")["state"] == "idle"
    ahead.post("agents/batch/resume")
    assert ahead.until("batch", "stopped")["progress"]["done"] == 3
    assert [one["reason"] for one in ahead.suggestions("batch")] == [None] * 3
    assert_measured_once(ahead)


def test_stop_takes_it_back(ahead, gate):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ahead.http.post, "/api/v1/agents/batch/stop")  # answers when the run under way has ended
        wait_until(lambda: fates(ahead)[1:] == ["approved", "approved"])
        gate.gate.set()
    assert ahead.until("batch", "stopped")["progress"]["done"] == 1
    assert fates(ahead) == ["ingested", "approved", "approved"]
    ahead.post("agents/batch/start")
    wait_until(lambda: ahead.status("batch")["progress"]["done"] == 3)
    assert_measured_once(ahead)


def test_abort_fails_what_was_under_way_alone(ahead, gate):
    ahead.post("queue/abort", {"reason": "smoke"})
    wait_until(lambda: fates(ahead) == ["failed", "approved", "approved"])
    gate.gate.set()
    ahead.post("queue/resume")
    assert ahead.until("batch", "stopped")["progress"]["done"] == 3
    assert fates(ahead) == ["failed", "ingested", "ingested", "ingested"]
    assert_measured_once(ahead, of=4)


def test_new_guardrails_take_it_back(ahead, gate):
    answer = ahead.http.patch("/api/v1/agents/batch", json={"guardrails": {"bounds": {"x": [-0.5, 0.5]}}})
    assert answer.status_code == 200, answer.text
    wait_until(lambda: fates(ahead)[:2] == ["running", "approved"])
    gate.gate.set()
    wait_until(lambda: fates(ahead)[:3] == ["ingested", "rejected", "rejected"])
    assert_measured_once(ahead, of=1)


def test_one_that_is_ingested_by_hand_is_taken_back(ahead, gate):
    second = ahead.suggestions("batch")[1]
    ahead.post("agents/batch/ingest", {"points": [{"_id": second["id"], "signal": 9.0}]})
    wait_until(lambda: fates(ahead) == ["running", "ingested", "submitted"])
    gate.gate.set()
    assert ahead.until("batch", "stopped")["best"]["outcome"] == {"signal": 9.0}
    # the one by hand is no run, so a third is made
    assert fates(ahead) == ["ingested"] * 4
    assert_measured_once(ahead)


def test_nothing_is_handed_ahead_that_a_failure_would_forbid(start, gate):
    service = begin(start(), max_failures=1)
    service.post("queue/pause")  # a round trip through the loop: it has looked by now
    assert fates(service) == ["running", "approved", "approved"]


def test_it_is_approved_again_after_a_restart_of_the_service(tmp_path, gate):
    with running(tmp_path / "state") as service:
        begin(service)
        wait_until(lambda: fates(service) == ["running", "submitted", "approved"])
    gate.gate.set()
    with running(tmp_path / "state") as service:
        assert service.until("batch", "stopped")["progress"]["done"] == 3
        assert fates(service) == ["abandoned", "ingested", "ingested", "ingested"]
        assert_measured_once(service, of=4)
