"""Commands that meet: none of them may leave an agent half-way, and no decision is taken twice."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import brainbox
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


def settle(service, name):
    """Bring an agent to rest, whatever state it is in; fails when it is stuck."""

    def rest():
        service.http.post(f"/api/v1/agents/{name}/stop")
        return service.status(name)["state"] in ("stopped", "failed", "created")

    wait_until(rest, what=f"{name} at rest")
    return service.status(name)


def test_a_storm_of_commands_leaves_no_agent_half_way(start):
    service = start()
    service.create("storm", type="brainbox:Sleepy", config={"seconds": 0.01}, loop={"approval": "required"})
    codes = set()

    def send(command):
        for _ in range(12):
            codes.add(service.http.post(f"/api/v1/agents/storm/{command}").status_code)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(send, ["start", "stop", "pause", "resume", "restart"]))
    assert codes <= {200, 202, 409}
    settle(service, "storm")
    legal = {
        "created": {"starting"},
        "starting": {"running", "paused", "stopping", "failed"},
        "running": {"paused", "stopping", "failed"},
        "paused": {"running", "stopping", "failed"},
        "stopping": {"stopped", "failed"},
        "stopped": {"starting", "failed"},
        "failed": {"starting"},
    }
    facts, cursor = [], None
    while not facts or cursor:
        page = service.get("agents/storm/history", limit=1000, **({"cursor": cursor} if cursor else {}))
        facts, cursor = facts + page["items"], page["next"]
    steps = [(one["data"]["state"], one["data"].get("reason")) for one in facts if one["kind"] == "agent.state"]
    for before, after in pairwise(steps):  # a state is said again only to say another reason
        assert after[0] in legal[before[0]] or (after[0] == before[0] and after[1] != before[1]), steps
    service.post("agents/storm/start")
    service.until("storm", "running")


def test_an_agent_that_starts_while_the_queue_is_held_is_paused(start):
    brainbox.thinking.clear()
    service = start()
    service.create("slow-birth", type="brainbox:Sleepy", config={"seconds": 0.5}, loop={"max_runs": 1})
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(service.http.post, "/api/v1/agents/slow-birth/start")
        service.until("slow-birth", "starting")
        service.post("queue/abort")
        assert starting.result().json()["state"] == "paused"
    assert service.suggestions("slow-birth") == []
    service.post("queue/resume")
    assert service.until("slow-birth", "stopped")["progress"]["done"] == 1


def test_ingest_by_hand_of_a_submitted_suggestion_is_the_last_word(start, gate):
    service = start()
    service.create("overtaken", plan="gated", loop={"max_runs": 2})
    service.post("agents/overtaken/start")
    wait_until(gate.measuring.is_set)
    [one] = service.suggestions("overtaken")
    service.post("agents/overtaken/ingest", {"points": [{"_id": one["id"], "signal": 9.0}]})
    gate.gate.set()
    status = service.until("overtaken", "stopped")
    assert status["last_error"] is None
    assert status["best"]["outcome"] == {"signal": 9.0}


def test_one_outcome_is_ingested_once(start):
    service = start()
    service.create("once", loop={"approval": "required"})
    service.post("agents/once/start")
    [one] = wait_until(lambda: service.suggestions("once", state="proposed"))
    body = {"points": [{"_id": one["id"], "signal": 1.0}]}
    twice = {"points": body["points"] * 2}
    service.problem("POST", "agents/once/ingest", 422, "invalid_point", json=twice)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: service.http.post("/api/v1/agents/once/ingest", json=body), range(4)))
    assert sorted(one.status_code for one in answers) == [200, 409, 409, 409]
    assert service.get("agents/once/variables/seen")["value"] == 1


def test_approval_that_is_no_longer_required_is_given(start):
    service = start()
    service.create("freed", loop={"approval": "required", "max_runs": 2})
    service.post("agents/freed/start")
    wait_until(lambda: service.suggestions("freed", state="proposed"))
    service.http.patch("/api/v1/agents/freed", json={"loop": {"approval": "auto"}})
    assert service.until("freed", "stopped")["progress"]["done"] == 2


def test_a_listener_with_nothing_to_suggest_rests(start):
    service = start()
    service.create("quiet", config={"limit": 0}, listen="all")
    service.post("agents/quiet/start")
    service.until("quiet", "running")
    before = time.process_time()
    time.sleep(0.5)  # what is measured is the time that is not spent
    assert time.process_time() - before < 0.3
    assert service.status("quiet")["state"] == "running"


def test_a_plan_that_aborts_by_itself_counts_as_failed(start):
    service = start()
    service.create("no-beam", plan="gives_up", loop={"max_failures": 2})
    service.post("agents/no-beam/start")
    status = service.until("no-beam", "stopped")
    assert status["reason"].startswith("2 failures in a row")
    assert "no beam" in status["reason"]


def test_stop_while_the_queue_is_paused_takes_the_plan_back(start):
    service = start()
    service.post("queue/pause")
    service.create("waiting", loop={"max_runs": 1})
    service.post("agents/waiting/start")
    wait_until(lambda: service.suggestions("waiting", state="submitted"))
    assert service.post("agents/waiting/stop")["state"] == "stopped"
    service.post("queue/resume")
    assert service.get("queue")["pending"] == 0
    assert service.suggestions("waiting", state="running") == []
    service.problem("POST", "agents/waiting/go-to-best", 409, "conflict")


def test_a_pause_of_the_queue_survives_a_restart(tmp_path):
    with running(tmp_path / "state") as service:
        service.post("queue/pause")
    with running(tmp_path / "state") as service:
        assert service.get("queue")["state"] == "paused"
        service.post("queue/abort", {"reason": "fire"})
        service.post("queue/pause")
    with running(tmp_path / "state") as service:
        queue = service.get("queue")
        assert (queue["state"], queue["reason"]) == ("held", "fire")


def test_text_that_is_no_unicode_never_gets_in(start):
    service = start()
    headers = {"Content-Type": "application/json"}
    spec = '{"name": "bad", "type": "brainbox:Walker", "outcome": "signal", "warm_start": ["\\ud800"]}'
    found = service.problem("POST", "agents", 422, "invalid_input", content=spec, headers=headers)
    assert "warm_start.0" in found["detail"]
    service.create("bytes", type="brainbox:Undecodable")
    service.problem("POST", "agents/bytes/start", 502, "agent_fault")
    assert "udc80" in service.get("agents")["items"][0]["reason"]
    assert service.get("agents/bytes/history")["items"]


@pytest.mark.parametrize("number", ["NaN", "1e400", "-Infinity"])
def test_numbers_that_json_cannot_hold_change_nothing(start, number):
    service = start()
    service.create("exact", loop={"approval": "required"})
    service.post("agents/exact/start")
    headers = {"Content-Type": "application/json"}
    for method, path, body in (
        ("PUT", "agents/exact/variables/gain", '{"value": NUMBER}'),
        ("PATCH", "agents/exact", '{"config": {"step": NUMBER}}'),
        ("PATCH", "agents/exact", '{"loop": {"max_runs": NUMBER}}'),
    ):
        content = body.replace("NUMBER", number)
        service.problem(method, path, 422, "invalid_input", content=content, headers=headers)
    assert service.get("agents/exact/variables/gain")["value"] == 1.0
    assert service.status("exact")["config"] == {}


def test_a_removed_agent_does_not_come_back(start):
    service = start()
    service.create("going", loop={"approval": "required"})
    with ThreadPoolExecutor(4) as pool:
        removing = pool.submit(service.http.delete, "/api/v1/agents/going")
        starting = [pool.submit(service.http.post, "/api/v1/agents/going/start") for _ in range(3)]
        codes = {one.result().status_code for one in starting}
    if removing.result().status_code == 204:
        service.problem("GET", "agents/going", 404, "not_found")
        assert codes <= {404, 409}
    else:
        assert service.until("going", "running")
    assert (
        not [one for one in threading.enumerate() if one.name == "agent:going"] or removing.result().status_code == 409
    )


def test_a_configured_value_wins_over_an_older_variable(start):
    service = start()
    service.create("kappa", loop={"approval": "required"})
    service.post("agents/kappa/start")
    service.http.put("/api/v1/agents/kappa/variables/gain", json={"value": 2.0})
    service.http.patch("/api/v1/agents/kappa", json={"config": {"gain": 9.0}})
    assert service.get("agents/kappa/variables/gain")["value"] == 9.0
    service.post("agents/kappa/restart")
    service.until("kappa", "running")
    assert service.get("agents/kappa/variables/gain")["value"] == 9.0


def test_a_measured_run_outlives_a_stop_during_its_evaluation(start):
    brainbox.thinking.clear()
    brainbox.done_thinking.clear()
    service = start()
    try:
        service.create("pensive", evaluate="brainbox:slow_peak", loop={"max_runs": 1})
        service.post("agents/pensive/start")
        wait_until(brainbox.thinking.is_set)
        assert service.post("agents/pensive/stop")["state"] == "stopped"
        [one] = service.suggestions("pensive")
        assert (one["state"], service.status("pensive")["last_error"]) == ("running", None)
    finally:
        brainbox.done_thinking.set()
    service.post("agents/pensive/start")
    assert service.until("pensive", "stopped")["progress"]["done"] == 1
    [again] = service.suggestions("pensive")
    assert (again["id"], again["run_uid"], again["state"]) == (one["id"], one["run_uid"], "ingested")


def test_interleaved_runs_are_told_apart(start):
    service = start()
    service.create("braid", plan="braided", run="first", loop={"max_runs": 1})
    service.post("agents/braid/start")
    service.until("braid", "stopped")
    [one] = service.suggestions("braid")
    first = one["outcome"]["signal"]  # measured at x = 5, in the run that began first
    assert first == pytest.approx(1 - 16 - 0.25)
