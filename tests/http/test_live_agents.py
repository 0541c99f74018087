"""Live objects in a real service: measured with, built again, and gone after a restart."""

import threading

import brainbox
import pytest
from services import running

from agent_service import references
from agent_service.brains import live_objects


class Locked(brainbox.Walker):
    """Does not pickle."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


@pytest.fixture
def reference():
    """References of live objects that are forgotten after the test."""
    made = []

    def of(thing):
        made.append(live_objects.register(thing))
        return made[-1]

    yield of
    for one in made:
        references.forget(one)


def test_the_users_own_object_measures_and_is_not_replayed_into(served, reference):
    walker = brainbox.Walker()
    served.create("mine", type=reference(walker), loop={"max_runs": 2})
    served.post("agents/mine/start")
    served.until("mine", "stopped")
    assert len(walker.points) == 2
    served.http.patch("/api/v1/agents/mine", json={"loop": {"max_runs": 3}})
    served.post("agents/mine/start")
    assert served.until("mine", "stopped")["progress"]["done"] == 3
    assert len(walker.points) == 2, "a new one was born"
    assert [one["point"]["x"] for one in served.suggestions("mine")] == [0, 1, 2], "which went on from its state"


def test_the_state_of_an_object_is_no_other_ones(served, reference):
    first, second = reference(brainbox.Walker()), reference(brainbox.Open())
    served.create("taken", type=first, loop={"max_runs": 2})
    served.post("agents/taken/start")
    served.until("taken", "stopped")
    references.take_over(second, first)  # as when an object is served in the place of one that the agent had
    served.http.patch("/api/v1/agents/taken", json={"loop": {"max_runs": 3}}).raise_for_status()
    served.post("agents/taken/start")
    served.until("taken", "stopped")
    assert served.post("agents/taken/start?paused=true")["state"] == "paused"
    report = served.post("agents/taken/report")["report"]
    assert (report["n"], report["suggested"]) == (3, 1), "told everything, and asked for no old point"


def test_an_object_that_does_not_pickle_is_not_ended_by_a_restart(served, reference):
    served.create("locked", type=reference(Locked()), loop={"approval": "required"})
    served.post("agents/locked/start")
    found = served.problem("POST", "agents/locked/restart", 409, "conflict")
    assert "does not pickle" in found["detail"]
    assert served.status("locked")["state"] == "running"
    served.problem("PATCH", "agents/locked", 409, "conflict", json={"config": {}})
    assert served.status("locked")["state"] == "running"
    served.post("agents/locked/stop")
    served.problem("POST", "agents/locked/start", 409, "conflict")
    assert served.status("locked")["state"] == "stopped"


def test_unknown_live_objects_are_unknown_types(served):
    body = {"name": "ghost", "type": "live:ghost", "actuators": ["x"], "outcome": "signal"}
    found = served.problem("POST", "agents", 422, "unknown_type", json=body)
    assert "serve the object again" in found["detail"]


def test_after_a_restart_the_object_is_gone_and_the_others_are_not(tmp_path, reference):
    alive, rests = reference(brainbox.Walker()), reference(brainbox.Walker())
    with running(tmp_path / "state") as service:
        service.create("alive", type=alive, loop={"approval": "required"})
        service.create("rests", type=rests)
        service.create("other", loop={"approval": "required"})
        service.post("agents/alive/start")
        service.post("agents/other/start")
    references.forget(alive)
    references.forget(rests)
    with running(tmp_path / "state") as service:
        assert service.until("other", "running")
        status = service.until("alive", "failed")
        assert "is not in this process" in status["reason"]
        assert status["last_error"]["code"] == "unknown_type"
        assert service.status("rests")["state"] == "created"
        service.problem("POST", "agents/rests/start", 422, "unknown_type")
        service.problem("POST", "agents/alive/restart", 422, "unknown_type")
        assert service.http.delete("/api/v1/agents/alive").status_code == 204


def test_start_paused(served):
    served.create("careful", loop={"max_runs": 1})
    status = served.post("agents/careful/start?paused=true")
    assert (status["state"], status["reason"]) == ("paused", "started paused; resume it to go on")
    assert served.suggestions("careful") == []
    served.post("agents/careful/ingest", {"points": [{"x": 0, "y": 0, "signal": 1}]})
    served.post("agents/careful/resume")
    assert served.until("careful", "stopped")["progress"]["done"] == 1
