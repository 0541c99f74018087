"""Several suggestions open at a time: the brain is asked while a plan runs, and filler points while it thinks."""

from collections import Counter

import brainbox
import pytest
import rig
from services import running, wait_until
from test_documents import run_documents

from agent_service.agents import proposals

BOUNDS = {"guardrails": {"bounds": {"x": [-5, 50], "y": [-5, 5]}}}


@pytest.fixture
def gate():
    """The gated plan waits in its run until the test opens the gate."""
    rig.gate.clear()
    rig.measuring.clear()
    yield rig.gate
    rig.gate.set()


@pytest.fixture
def thought():
    """A slow brain thinks until the test lets it go on."""
    brainbox.thinking.clear()
    brainbox.done_thinking.clear()
    yield brainbox.done_thinking
    brainbox.done_thinking.set()


def fates(service, name="ahead"):
    return [one["state"] for one in service.suggestions(name, limit=1000)]


def begin(service, *, first="running", **spec):
    service.create("ahead", plan="gated", **spec)
    service.post("agents/ahead/start")
    wait_until(lambda: fates(service)[:1] == [first])
    return service


def report_of(service, name="ahead"):
    return service.post(f"agents/{name}/report")["report"]


def measured(service, name="ahead"):
    """The suggestions that were measured, each once."""
    facts = service.get(f"agents/{name}/history", limit=1000)["items"]
    runs = Counter(one["data"]["id"] for one in facts if one["data"].get("state") == "running" and "id" in one["data"])
    assert set(runs.values()) <= {1}
    return set(runs)


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, ["running"]), (2, ["running", "submitted"]), (3, ["running", "submitted", "approved"])],
)
def test_the_brain_is_asked_while_a_plan_runs(start, gate, most, expected):
    service = begin(start(), loop={"max_pending": most, "max_runs": 6})
    wait_until(lambda: fates(service) == expected)
    gate.set()
    assert service.until("ahead", "stopped")["progress"]["done"] == 6
    assert fates(service) == ["ingested"] * 6
    assert len(measured(service)) == 6
    assert [point["x"] for point in (one["point"] for one in service.suggestions("ahead"))] == [0, 1, 2, 3, 4, 5]


def test_no_more_is_asked_for_than_may_be_measured(start, gate):
    service = begin(start(), loop={"max_pending": 9, "n_points": 4, "max_runs": 3})
    wait_until(lambda: fates(service) == ["running", "submitted", "approved"])
    gate.set()
    service.until("ahead", "stopped")
    assert fates(service) == ["ingested"] * 3


def test_all_that_wait_for_a_person_are_shown(start, gate):
    service = begin(start(), first="proposed", loop={"max_pending": 3, "approval": "required"})
    wait_until(lambda: fates(service) == ["proposed"] * 3)
    first = service.suggestions("ahead")[0]
    service.post(f"suggestions/{first['id']}/approve")
    wait_until(lambda: fates(service) == ["running", "proposed", "proposed"])
    edited = service.suggestions("ahead")[2]
    service.post(f"suggestions/{edited['id']}/approve", {"point": {"x": 0.5, "y": 0.25}})
    service.post(f"suggestions/{service.suggestions('ahead')[1]['id']}/reject")
    wait_until(lambda: fates(service)[:4] == ["running", "rejected", "submitted", "proposed"])
    gate.set()
    wait_until(lambda: fates(service)[:3] == ["ingested", "rejected", "ingested"])
    before = report_of(service)
    assert before["n"] == 2
    service.post("agents/ahead/stop")
    service.post("agents/ahead/start?paused=true")
    assert report_of(service) == before


def test_a_failed_run_is_made_up_for(start, gate):
    service = begin(start(), loop={"max_pending": 2, "max_runs": 3})
    wait_until(lambda: fates(service) == ["running", "submitted"])
    service.post("queue/abort", {"reason": "smoke"})
    wait_until(lambda: fates(service)[0] == "failed")
    gate.set()
    service.post("queue/resume")
    assert service.until("ahead", "stopped")["progress"]["done"] == 3
    assert Counter(fates(service)) == {"failed": 1, "ingested": 3}


def test_after_a_restart_of_the_service_each_is_measured_once(tmp_path, gate):
    with running(tmp_path / "state") as service:
        begin(service, loop={"max_pending": 3, "max_runs": 4})
        wait_until(lambda: fates(service) == ["running", "submitted", "approved"])
    gate.set()
    with running(tmp_path / "state") as service:
        assert service.until("ahead", "stopped")["progress"]["done"] == 4
        assert Counter(fates(service)) == {"abandoned": 1, "ingested": 4}
        assert len(measured(service)) == 5


def test_nothing_to_suggest_is_no_end_while_others_are_measured(start, gate):
    service = begin(start(), type="brainbox:AsksForOutcomes", loop={"max_pending": 4, "max_runs": 5})
    wait_until(lambda: fates(service) == ["running", "submitted"])
    gate.set()
    status = service.until("ahead", "stopped")
    assert (status["progress"]["done"], status["reason"]) == (5, "max_runs reached (5 of 5)")


def test_a_slow_brain_is_asked_again_after_a_pause(start, thought):
    service = start()
    service.create("ahead", type="brainbox:Slow", loop={"max_runs": 2})
    service.post("agents/ahead/start")
    assert brainbox.thinking.wait(20)
    service.post("agents/ahead/pause")
    thought.set()
    wait_until(lambda: fates(service) == ["approved"])
    service.post("agents/ahead/resume")
    assert service.until("ahead", "stopped")["progress"]["done"] == 2


def test_a_pause_holds_though_the_brain_thinks_and_another_run_is_to_be_ingested(start, gate, thought):
    service = begin(start(), type="brainbox:SlowThird", listen="all", loop={"max_pending": 3, "max_runs": 3})
    assert brainbox.thinking.wait(20)
    wait_until(lambda: fates(service) == ["running", "submitted"])
    service.post("documents", {"documents": run_documents(x=7.0)})  # somebody else's run: the brain has no time for it
    service.post("agents/ahead/pause")
    wait_until(lambda: fates(service) == ["running", "approved"])
    gate.set()
    wait_until(lambda: service.get("queue")["state"] == "idle")
    assert fates(service)[1] == "approved"
    thought.set()
    service.post("agents/ahead/resume")
    assert service.until("ahead", "stopped")["progress"]["done"] == 3
    assert len(measured(service)) == 3


# filler points --------------------------------------------------------------------------------------------------------


def fillers(service, name="ahead"):
    return [one for one in service.suggestions(name, limit=1000) if one["filler"]]


def test_filler_points_are_measured_while_the_brain_thinks(start, thought):
    service = start()
    service.create("ahead", type="brainbox:Slow", loop={"filler": "sobol", "max_runs": 4}, **BOUNDS)
    service.post("agents/ahead/start")
    wait_until(lambda: len(fillers(service)) >= 4)
    proposed = fillers(service)
    assert len({tuple(one["point"].values()) for one in proposed}) == len(proposed)
    assert all(-5 <= one["point"]["x"] <= 50 and -5 <= one["point"]["y"] <= 5 for one in proposed)
    thought.set()
    assert service.until("ahead", "stopped")["progress"]["done"] == 4
    own = [one["point"]["x"] for one in service.suggestions("ahead", limit=1000) if not one["filler"]]
    assert own == [0, 1, 2, 3]
    answer = service.http.patch("/api/v1/agents/ahead", json={"loop": {"max_runs": 5}})
    assert answer.status_code == 200, answer.text
    service.post("agents/ahead/start?paused=true")  # built anew from the facts
    report = report_of(service)
    told = [one for one in fillers(service) if one["state"] == "ingested"]  # the last may have been given up at the end
    assert report["n"] == 4 + len(told)
    assert report["ids"].count(None) == len(told)
    assert [one for one in report["ids"] if one is not None] == list(range(len(own)))


def test_filler_points_go_on_where_they_were_after_a_restart_of_the_service(tmp_path, thought):
    spec = {"type": "brainbox:Slow", "loop": {"filler": "sobol", "max_runs": 1000}, **BOUNDS}
    with running(tmp_path / "state") as service:
        service.create("ahead", **spec)
        service.post("agents/ahead/start")
        wait_until(lambda: len(fillers(service)) >= 3)
        before = len(fillers(service))
    with running(tmp_path / "state") as service:
        wait_until(lambda: len(fillers(service)) >= before + 3)
        points = [tuple(one["point"].values()) for one in fillers(service)]
        assert len(set(points)) == len(points)
        service.post("agents/ahead/stop")


def test_no_more_filler_points_than_the_budget_allows(start, thought):
    service = start()
    guardrails = {**BOUNDS["guardrails"], "budget_runs": 5}
    service.create("ahead", type="brainbox:Slow", loop={"filler": "sobol"}, guardrails=guardrails)
    service.post("agents/ahead/start")
    wait_until(lambda: len(fillers(service)) == 5)
    thought.set()
    assert service.until("ahead", "stopped")["reason"].startswith("guardrails.budget_runs")
    assert len(measured(service)) == 5


def test_without_limits_there_are_no_filler_points_and_it_is_said(start, thought):
    service = start()
    service.create("ahead", type="brainbox:Slow", loop={"filler": "sobol", "max_runs": 1})
    service.post("agents/ahead/start")
    assert brainbox.thinking.wait(20)
    thought.set()
    service.until("ahead", "stopped")
    assert fillers(service) == []


def test_with_approval_by_a_person_no_filler_point_moves_anything(start, thought):
    service = start()
    service.create("ahead", type="brainbox:Slow", loop={"filler": "sobol", "approval": "required"}, **BOUNDS)
    service.post("agents/ahead/start")
    assert brainbox.thinking.wait(20)
    service.post("queue/pause")  # a round trip through the loop
    assert fates(service) == []
    thought.set()


def test_another_agent_gives_the_filler_points(start, thought):
    service = start()
    service.create("spare", config={"step": 0.25})
    service.post("agents/spare/start?paused=true")
    service.create("ahead", type="brainbox:Slow", loop={"filler": "spare", "max_runs": 2}, **BOUNDS)
    service.post("agents/ahead/start")
    wait_until(lambda: len(fillers(service)) >= 3)
    thought.set()
    service.until("ahead", "stopped")
    xs = [one["point"]["x"] for one in fillers(service)]
    assert xs == [0.25 * n for n in range(len(xs))]
    taken = service.suggestions("spare")
    assert {(one["state"], one["reason"]) for one in taken[: len(xs)]} == {
        ("rejected", "given to agent 'ahead', as a filler point")
    }


@pytest.mark.parametrize(
    ("spare", "ahead", "why"),
    [
        ({"actuators": ["x"]}, {}, "agent 'spare' has other actuators; the difference is y"),
        ({}, {"space": {"y": [1, 2]}}, "point.y is 0.0, below 1.0; a point here has x, y"),
    ],
)
def test_points_of_another_agent_that_do_not_fit_are_not_measured(start, thought, caplog, spare, ahead, why):  # noqa: PLR0913, PLR0917
    service = start()
    service.create("spare", **spare)
    service.post("agents/spare/start?paused=true")
    service.create("ahead", type="brainbox:Slow", loop={"filler": "spare"}, **{**BOUNDS, **ahead})
    service.post("agents/ahead/start")
    wait_until(lambda: f"no filler point is measured: {why}" in caplog.text)
    assert fates(service) == []
    refused = [f"agent 'ahead' may not measure it: {why}"] if ahead else []
    service.post("queue/pause")  # a round trip through the loop, which looks again after a while and not at once
    assert [one["reason"] for one in service.suggestions("spare")] == refused


def test_an_agent_that_comes_later_gives_the_filler_points(start, thought, caplog, monkeypatch):
    monkeypatch.setattr(proposals, "FILLS_AGAIN_S", 0.01)
    service = start()
    service.create("ahead", type="brainbox:Slow", loop={"filler": "spare"}, **BOUNDS)
    service.post("agents/ahead/start")
    assert "there is no agent 'spare' yet whose points could be measured" in caplog.text
    lacks = "no filler point is measured: there is no agent 'spare'"
    wait_until(lambda: lacks in (service.status("ahead")["note"] or ""), what="what it lacks")
    assert lacks in caplog.text
    service.create("spare")
    service.post("agents/spare/start?paused=true")
    wait_until(lambda: len(fillers(service)) >= 3)
    wait_until(lambda: service.status("ahead")["note"] is None)


def test_an_agent_whose_filler_points_come_late_stops_at_once(start, thought):
    service = start()
    service.create("spare", type="brainbox:Slow")
    service.post("agents/spare/start?paused=true")
    service.create("ahead", type="brainbox:Slow", loop={"filler": "spare"}, **BOUNDS)
    service.post("agents/ahead/start")
    wait_until(lambda: (service.status("spare")["busy"] or {}).get("call") == "suggest")
    service.post("agents/ahead/stop")
    assert service.until("ahead", "stopped")
    thought.set()
    wait_until(lambda: fates(service, "spare") == ["rejected"])
    assert service.status("spare")["state"] == "paused"
    assert fates(service) == []


def test_the_share_of_the_time_without_a_plan_is_told(start, gate):
    service = start()
    service.create("ahead", plan="leisurely", loop={"max_pending": 2, "max_runs": 4})
    assert service.status("ahead")["beam_idle"] is None
    service.post("agents/ahead/start")
    status = service.until("ahead", "stopped")
    assert 0.0 <= status["beam_idle"] < 1.0
    assert status["think_s"] > 0.0
    metrics = service.http.get("/metrics").text
    assert f'agent_service_agent_beam_idle{{agent="ahead"}} {status["beam_idle"]}' in metrics
