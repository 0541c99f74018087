"""An agent's fault is its own, and a run that goes wrong fails its suggestion."""

import pytest
import rig


@pytest.fixture
def healthy(served):
    """Another agent, which must not notice."""
    if "healthy" not in [one["name"] for one in served.get("agents")["items"]]:
        served.create("healthy", loop={"approval": "required"})
        served.post("agents/healthy/start")
    yield "healthy"
    assert served.status("healthy")["state"] == "running"
    assert served.status("healthy")["last_error"] is None


def test_a_raising_constructor(served, healthy):
    served.create("unborn", type="brainbox:Unborn")
    found = served.problem("POST", "agents/unborn/start", 502, "agent_fault")
    assert "no model file" in found["detail"]
    assert "brainbox.py" in found["traceback"]
    status = served.status("unborn")
    assert status["state"] == "failed"
    assert "no model file" in status["reason"]
    assert "OSError: no model file" in status["last_error"]["traceback"]
    last = served.get("agents/unborn/history", newest_first=True)["items"][0]
    assert "OSError" in last["data"]["error"]["traceback"]
    served.problem("POST", "agents/unborn/restart", 502, "agent_fault")


@pytest.mark.parametrize("where", ["suggest", "ingest"])
def test_a_raising_call(served, healthy, where):
    name = f"faulty-{where}"
    served.create(name, type="brainbox:Faulty", config={"where": where})
    served.post(f"agents/{name}/start")
    status = served.until(name, "failed")
    assert f"singular matrix in {where}" in status["reason"]
    assert "brainbox.py" in status["last_error"]["traceback"]
    assert "executors" not in status["last_error"]["traceback"]
    if where == "ingest":  # what was measured is kept for the restart
        assert [one["state"] for one in served.suggestions(name)] == ["measured"]


def test_a_raising_call_by_hand_is_502(served, healthy):
    served.create("by-hand", type="brainbox:Faulty", config={"where": "ingest"}, loop={"approval": "required"})
    served.post("agents/by-hand/start")
    body = {"points": [{"x": 0, "y": 0, "signal": 0}]}
    found = served.problem("POST", "agents/by-hand/ingest", 502, "agent_fault", json=body)
    assert "ValueError: singular matrix in ingest" in found["traceback"]
    assert served.status("by-hand")["state"] == "failed"
    served.problem("POST", "agents/by-hand/suggest", 409, "illegal_transition", json={})


def test_a_brain_that_suggests_foreign_actuators(served, healthy):
    served.create("foreign", type="brainbox:Foreign")
    served.post("agents/foreign/start")
    status = served.until("foreign", "failed")
    assert status["last_error"]["code"] == "agent_fault"
    assert "lacks x, y" in status["reason"]


def failing(served, name, said, **spec):
    served.create(name, loop={"max_failures": 2}, **spec)
    served.post(f"agents/{name}/start")
    status = served.until(name, "stopped")
    assert status["reason"].startswith("2 failures in a row (max_failures); the last: ")
    assert said in status["reason"]
    failed = served.suggestions(name)
    assert [one["state"] for one in failed] == ["failed", "failed"]
    assert said in failed[0]["reason"]
    return failed


def test_a_plan_that_raises(served, healthy):
    failed = failing(served, "raising", "the shutter is closed", plan="raises")
    assert failed[0]["run_uid"]
    told = failed[0]["traceback"]
    assert "rig.py" in told
    assert told.rstrip().endswith("the shutter is closed")


def test_the_brain_is_told_of_failures(served):
    served.create("told", plan="raises", loop={"max_failures": 2, "report_every": 1})
    served.post("agents/told/start")
    served.until("told", "stopped")
    served.http.patch("/api/v1/agents/told", json={"loop": {"approval": "required", "max_failures": 2}})
    served.post("agents/told/start")  # replays the failures too
    assert served.post("agents/told/report")["report"]["failed"] == 2


def test_a_batch_does_not_go_on_failing(served):
    served.create("broken-batch", plan="raises", loop={"n_points": 10, "max_failures": 2})
    served.post("agents/broken-batch/start")
    served.until("broken-batch", "stopped")
    states = [one["state"] for one in served.suggestions("broken-batch")]
    assert states == ["failed"] * 2 + ["approved"] * 8


def test_a_plan_without_a_run(served, healthy):
    failing(served, "no-run", "no run", plan="no_run")


def test_an_outcome_that_is_nan(served, healthy):
    failing(served, "nan", "nothing", sensors=["nothing"], outcome="nothing")


def test_an_outcome_that_is_absent(served, healthy):
    failing(served, "absent", "sygnal", outcome="sygnal")


def test_an_evaluate_function_that_raises(served, healthy):
    failing(served, "broken", "cannot fit", evaluate="brainbox:broken", outcome=None)


def test_a_device_that_is_gone_at_submission(served, healthy):
    served.create("unplugged", loop={"max_failures": 2}, sensors=["nothing", "signal"])
    there = rig.nothing
    del rig.nothing
    try:
        served.post("agents/unplugged/start")
        status = served.until("unplugged", "stopped")
    finally:
        rig.nothing = there
    assert "there is no device 'nothing'" in status["reason"]


def test_one_success_resets_the_count_of_failures(served):
    served.create("flaky", plan="every_other", loop={"max_failures": 2, "max_runs": 2})
    served.post("agents/flaky/start")
    status = served.until("flaky", "stopped")
    assert status["reason"] == "max_runs reached (2 of 2)"
    assert [one["state"] for one in served.suggestions("flaky")] == ["failed", "ingested", "failed", "ingested"]


def test_an_evaluate_function_finds_the_outcome(served):
    served.create("evaluated", evaluate="brainbox:peak", loop={"max_runs": 2})
    served.post("agents/evaluated/start")
    served.until("evaluated", "stopped")
    assert served.suggestions("evaluated")[1]["outcome"] == {"signal": pytest.approx(0.75)}


def test_a_plan_that_makes_two_runs_is_ingested_once(served):
    served.create("twice", plan="twice", run="last", loop={"max_runs": 2}, listen="all")
    served.post("agents/twice/start")
    status = served.until("twice", "stopped")
    assert status["progress"]["done"] == 2
    assert served.get("agents/twice/variables/seen")["value"] == 2
