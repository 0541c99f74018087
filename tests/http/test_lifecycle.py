"""An agent's life over HTTP, against a real uvicorn and a real RunEngine."""

import time
from concurrent.futures import ThreadPoolExecutor

import brainbox
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


def test_the_loop_runs_to_max_runs_and_stops_with_a_reason(served):
    created = served.create("walker", loop={"max_runs": 3})
    assert created["state"] == "created"
    assert created["progress"] == {"done": 0, "total": 3}
    assert served.post("agents/walker/start")["state"] in ("running", "stopped")
    status = served.until("walker", "stopped")
    assert status["reason"] == "max_runs reached (3 of 3)"
    assert status["progress"] == {"done": 3, "total": 3}
    assert {key: one for key, one in status["counts"].items() if one} == {"suggested": 3, "ingested": 3}
    assert status["best"]["point"] == {"x": 1.0, "y": 0.0}
    assert status["best"]["outcome"]["signal"] == pytest.approx(0.75)
    for n, one in enumerate(served.suggestions("walker")):
        assert one["state"] == "ingested"
        assert one["point"]["x"] == n
        assert one["run_uid"]
        assert one["outcome"]["signal"] == pytest.approx(1 - (n - 1) ** 2 - 0.25)


def test_each_fate_is_a_fact_in_order(served):
    served.create("fates", loop={"max_runs": 1})
    served.post("agents/fates/start")
    served.until("fates", "stopped")
    history = served.get("agents/fates/history")["items"]
    told = [(one["kind"], one["data"].get("state")) for one in history]
    assert told == [
        ("agent.state", "created"),
        ("agent.state", "starting"),
        ("agent.state", "running"),
        ("suggestion.state", "proposed"),
        ("suggestion.state", "approved"),
        ("suggestion.state", "submitted"),
        ("suggestion.state", "running"),
        ("suggestion.state", "measured"),
        ("ingest", None),
        ("suggestion.state", "ingested"),
        ("agent.state", "stopping"),
        ("agent.state", "stopped"),
    ]
    seqs = [one["seq"] for one in history]
    assert seqs == sorted(seqs)


def test_the_brain_gets_its_own_id_back(served):
    served.create("ids", type="brainbox:factory", config={"start": 7}, loop={"max_runs": 2})
    served.post("agents/ids/start")
    served.until("ids", "stopped")
    proposed = [one for one in served.get("agents/ids/history")["items"] if one["data"].get("state") == "proposed"]
    assert [one["data"]["brain_id"] for one in proposed] == [7, 8]
    assert served.get("agents/ids/best")["items"][0]["id"] == proposed[0]["data"]["id"]


def test_a_batch_is_as_many_runs(served):
    served.create("batch", loop={"n_points": 3, "max_runs": 4})
    served.post("agents/batch/start")
    status = served.until("batch", "stopped")
    assert status["progress"]["done"] == 4
    assert len({one["run_uid"] for one in served.suggestions("batch")}) == 4


def test_pause_lets_the_run_finish_and_submits_nothing_more(start, gate):
    service = start()
    service.create("pausing", plan="gated", loop={"max_runs": 2})
    service.post("agents/pausing/start")
    wait_until(gate.measuring.is_set)
    assert service.post("agents/pausing/pause")["state"] == "paused"
    gate.gate.set()
    wait_until(lambda: service.status("pausing")["progress"]["done"] == 1)
    assert [one["state"] for one in service.suggestions("pausing")] == ["ingested"]
    assert service.status("pausing")["state"] == "paused"
    assert service.post("agents/pausing/resume")["state"] == "running"
    assert service.until("pausing", "stopped")["progress"]["done"] == 2


def test_what_is_suggested_when_a_pause_comes_is_measured_after_a_resume(start):
    brainbox.thinking.clear()
    brainbox.done_thinking.clear()
    service = start()
    try:
        service.create("slow", type="brainbox:Slow", loop={"max_runs": 1})
        service.post("agents/slow/start")
        wait_until(brainbox.thinking.is_set)
        assert service.post("agents/slow/pause")["state"] == "paused"
    finally:
        brainbox.done_thinking.set()
    [kept] = wait_until(lambda: service.suggestions("slow"))
    assert kept["state"] == "approved"
    assert service.status("slow")["counts"]["pending"] == 1
    service.post("agents/slow/resume")
    assert service.until("slow", "stopped")["progress"]["done"] == 1
    assert service.get(f"suggestions/{kept['id']}")["state"] == "ingested"


def test_stop_lets_the_run_finish(start, gate):
    service = start()
    service.create("stopping", plan="gated")
    service.post("agents/stopping/start")
    wait_until(gate.measuring.is_set)
    gate.gate.set()
    status = service.post("agents/stopping/stop")
    assert (status["state"], status["reason"]) == ("stopped", "stopped by a person")
    assert {one["state"] for one in service.suggestions("stopping")} <= {"ingested", "approved", "measured"}
    assert service.status("stopping")["counts"]["ingested"] >= 1


def test_stop_abandons_a_long_call(start):
    brainbox.thinking.clear()
    brainbox.done_thinking.clear()
    service = start()
    try:
        service.create("slow", type="brainbox:Slow")
        service.post("agents/slow/start")
        wait_until(brainbox.thinking.is_set)
        status = service.status("slow")
        assert status["busy"]["call"] == "suggest"
        assert service.http.get("/healthz").status_code == 200
        stopped = service.post("agents/slow/stop")
        assert stopped["state"] == "stopped"
        assert stopped["busy"] is None
        assert stopped["last_error"] is None
    finally:
        brainbox.done_thinking.set()


def test_a_call_past_its_deadline_fails_the_agent_and_restart_rebuilds_it(start):
    brainbox.done_thinking.clear()
    service = start()
    try:
        service.create("late", type="brainbox:Slow", timeouts={"suggest": 0.2}, loop={"max_runs": 1})
        service.post("agents/late/start")
        status = service.until("late", "failed")
        assert status["last_error"]["code"] == "deadline_exceeded"
        assert "0.2 s" in status["reason"]
    finally:
        brainbox.done_thinking.set()
    service.post("agents/late/restart")
    assert service.until("late", "stopped")["progress"]["done"] == 1


def test_restart_replays_what_was_measured(served):
    served.create("again", loop={"max_runs": 2})
    served.post("agents/again/start")
    served.until("again", "stopped")
    served.http.patch("/api/v1/agents/again", json={"loop": {"max_runs": 4}})
    served.post("agents/again/restart")
    served.until("again", "stopped")
    assert [one["point"]["x"] for one in served.suggestions("again")] == [0, 1, 2, 3]
    assert served.get("agents/again/variables/seen")["value"] == 4


def test_a_brain_goes_on_after_a_restart_in_the_middle(served):
    served.create("amid", loop={"approval": "required"})
    served.post("agents/amid/start")
    wait_until(lambda: served.suggestions("amid"))
    [first] = served.suggestions("amid")
    served.post(f"suggestions/{first['id']}/approve")
    wait_until(lambda: len(served.suggestions("amid")) == 2)
    served.post("agents/amid/restart")
    served.until("amid", "running")
    second = wait_until(lambda: served.suggestions("amid", state="proposed"))[0]
    assert second["point"]["x"] > first["point"]["x"]
    served.post(f"suggestions/{second['id']}/approve")
    wait_until(lambda: served.status("amid")["counts"]["ingested"] == 2)
    assert served.get("agents/amid/variables/seen")["value"] == 2
    places = [one["point"]["x"] for one in served.suggestions("amid")]
    assert len(set(places)) == len(places)
    served.post("agents/amid/stop")


def test_a_stop_during_a_restart_is_why_it_stopped(start, gate):
    service = start()
    service.create("again", plan="gated")
    service.post("agents/again/start")
    wait_until(gate.measuring.is_set)
    with ThreadPoolExecutor() as people:
        restarting = people.submit(service.http.post, "/api/v1/agents/again/restart")
        service.until("again", "stopping")
        stopping = people.submit(service.http.post, "/api/v1/agents/again/stop")
        time.sleep(0.2)  # so that it comes before the end of the run, mostly; the end is the same
        gate.gate.set()
        assert stopping.result(60).status_code == restarting.result(60).status_code == 200
    status = service.status("again")
    assert (status["state"], status["reason"]) == ("stopped", "stopped by a person")
    service.post("agents/again/start")
    service.post("agents/again/stop")


def test_start_of_an_agent_that_made_its_runs_says_what_to_do(served):
    served.create("done", loop={"max_runs": 1})
    served.post("agents/done/start")
    served.until("done", "stopped")
    assert (
        'client.update("done", loop={"max_runs": '
        in served.problem("POST", "agents/done/start", 409, "conflict")["detail"]
    )


def test_a_brain_with_nothing_more_to_suggest_stops(served):
    served.create("short", config={"limit": 2})
    served.post("agents/short/start")
    status = served.until("short", "stopped")
    assert status["reason"] == "the agent has nothing more to suggest"
    assert status["progress"]["done"] == 2


def test_config_is_changed_by_replay_and_loop_at_once(served):
    served.create("patched", loop={"max_runs": 1})
    served.post("agents/patched/start")
    served.until("patched", "stopped")
    answer = served.http.patch("/api/v1/agents/patched", json={"config": {"step": 0.5}, "loop": {"max_runs": 3}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["config"] == {"step": 0.5}
    assert answer.json()["spec"]["loop"]["n_points"] == 1
    served.post("agents/patched/start")
    served.until("patched", "stopped")
    points = [one["point"]["x"] for one in served.suggestions("patched")]
    assert points == [0, 0, 0.5], "a brain that is built anew is told outcomes, and not asked for old points again"
    served.problem("PATCH", "agents/patched", 409, "conflict", json={"type": "sobol"})
    found = served.problem("PATCH", "agents/patched", 422, "invalid_config", json={"loop": {"max_runs": 0}})
    assert found["errors"][0]["field"] == "loop.max_runs"
    found = served.problem("PATCH", "agents/patched", 422, "invalid_config", json={"config": {"stepp": 1}})
    assert "stepp" in found["detail"]


def test_a_brain_that_is_told_what_was_suggested_goes_on_with_another_config(served):
    served.create("told", type="brainbox:Registering", loop={"max_runs": 1})
    served.post("agents/told/start")
    served.until("told", "stopped")
    served.http.patch("/api/v1/agents/told", json={"config": {"step": 0.5}, "loop": {"max_runs": 3}}).raise_for_status()
    served.post("agents/told/start")
    served.until("told", "stopped")
    assert [one["point"]["x"] for one in served.suggestions("told")] == [0, 0.5, 1.0]


def test_config_of_a_running_agent_can_be_changed(start, gate):
    service = start()
    service.create("live", plan="gated", loop={"max_runs": 2})
    service.post("agents/live/start")
    wait_until(gate.measuring.is_set)
    assert service.http.patch("/api/v1/agents/live", json={"config": {"step": 0.25}}).status_code == 200
    gate.gate.set()
    service.until("live", "stopped")
    assert [one["point"]["x"] for one in service.suggestions("live")] == [0, 0], "the new brain begins anew"


def test_delete_removes_the_agent_and_keeps_its_history(served):
    served.create("gone")
    assert served.http.delete("/api/v1/agents/gone").status_code == 204
    served.problem("GET", "agents/gone", 404, "not_found")
    assert served.get("agents/gone/history")["items"][-1]["data"]["removed"] is True
    assert served.create("gone")["state"] == "created"


def test_delete_of_a_running_agent_is_refused(start, gate):
    service = start()
    service.create("alive", plan="gated")
    service.post("agents/alive/start")
    wait_until(gate.measuring.is_set)
    found = service.problem("DELETE", "agents/alive", 409, "illegal_transition")
    assert "stop" in found["legal"]


def test_agents_are_listed_by_page_and_state(start):
    service = start()
    for name in ("c", "a", "b"):
        service.create(name)
    first = service.get("agents", limit=2)
    assert [one["name"] for one in first["items"]] == ["a", "b"]
    second = service.get("agents", limit=2, cursor=first["next"])
    assert [one["name"] for one in second["items"]] == ["c"]
    assert second["next"] is None
    assert service.get("agents", state="running")["items"] == []


def test_reports_are_kept(served):
    served.create("reporter", loop={"max_runs": 4, "report_every": 2})
    served.post("agents/reporter/start")
    served.until("reporter", "stopped")
    reports = served.get("agents/reporter/reports")["items"]
    assert [one["report"]["n"] for one in reports] == [2, 4]


def test_warm_start_and_ingest_by_uid_need_a_catalogue(served):
    served.create("cold", warm_start=["f0e1d2c3"])
    served.problem("POST", "agents/cold/start", 503, "backend_unavailable")
    assert served.status("cold")["state"] == "failed"
