"""Guardrails at work: what breaks a rule is rejected and says which, the rate delays, and a PATCH counts at once."""

from datetime import datetime

import pytest
import rig
from services import wait_until


@pytest.fixture(autouse=True)
def _at_zero():
    """The devices are those of all services of this process: a step counts from where they are."""
    for device in (rig.x, rig.y):
        device.set(0.0).wait(5)


def rejected(service, name):
    return [(one["point"]["x"], one["reason"]) for one in service.suggestions(name, state="rejected")]


def test_a_step_that_is_too_large_is_rejected_and_the_brain_told(start):
    service = start()
    service.create("steps", config={"step": 3, "limit": 4}, guardrails={"max_step": {"x": 4}})
    service.post("agents/steps/start")
    service.until("steps", "stopped")
    assert rejected(service, "steps") == []
    assert len(service.suggestions("steps", state="ingested")) == 4
    service.create("leaps", config={"step": 3, "limit": 4}, guardrails={"max_step": {"x": 2.5}})
    service.post("agents/leaps/start")
    service.until("leaps", "stopped")
    # the one before left x at 9, whoever that was
    found = dict(rejected(service, "leaps"))
    assert found[0.0] == "guardrails.max_step.x: x = 0 is 9 from 9, more than 2.5"
    assert service.suggestions("leaps", state="ingested")[0]["point"]["x"] == 9.0
    service.post("agents/leaps/start?paused=true")
    assert service.post("agents/leaps/report")["report"]["failed"] == 3


def test_a_batch_is_held_to_the_step_between_its_points(start):
    service = start()
    service.create("batch", config={"step": 3, "limit": 3}, loop={"n_points": 3}, guardrails={"max_step": {"x": 1}})
    service.post("agents/batch/start")
    service.until("batch", "stopped")
    assert [at for at, _ in rejected(service, "batch")] == [3.0, 6.0]


def test_a_budget_of_runs_ends_the_agent_and_a_greater_one_lets_it_go_on(start, tmp_path):
    service = start()
    service.create("spender", loop={"n_points": 3}, guardrails={"budget_runs": 2}, plan="rig:every_other")
    service.post("agents/spender/start")
    status = service.until("spender", "stopped")
    assert status["reason"] == "guardrails.budget_runs: 2 runs were begun, and the budget is 2"
    assert (status["counts"]["ingested"], status["counts"]["failed"]) == (1, 1), "a failed run is one, too"
    assert [reason.partition(":")[0] for _, reason in rejected(service, "spender")] == ["guardrails.budget_runs"]
    service.close()
    service = start()  # the journal remembers
    refused = service.problem("POST", "agents/spender/start", 409, "conflict")
    assert "guardrails.budget_runs: 2 runs were begun, and the budget is 2; allow more" in refused["detail"]
    assert service.status("spender")["state"] == "stopped"
    service.http.patch("/api/v1/agents/spender", json={"guardrails": {"budget_runs": 3}}).raise_for_status()
    service.post("agents/spender/start")
    assert "3 runs were begun" in service.until("spender", "stopped")["reason"]


def test_a_budget_of_time(start):
    service = start()
    service.create("slow", plan="leisurely", guardrails={"budget_time_s": 0.4})
    service.post("agents/slow/start")
    status = service.until("slow", "stopped")
    assert status["reason"].startswith("guardrails.budget_time_s: ")
    assert status["counts"]["ingested"] in (1, 2), "each run takes a quarter of a second at least"


def test_a_plan_that_is_not_listed_and_then_is(start):
    service = start()
    service.create("planner", guardrails={"plans": ["other"]}, loop={"max_runs": 1, "n_points": 2})
    service.post("agents/planner/start")
    wait_until(lambda: rejected(service, "planner"))
    assert rejected(service, "planner")[0][1] == "guardrails.plans: the plan acquire is not on the list: other"
    service.http.patch("/api/v1/agents/planner", json={"guardrails": {"plans": None}}).raise_for_status()
    if service.status("planner")["state"] == "stopped":  # a hundred rejections were quicker
        service.post("agents/planner/start")
    assert service.until("planner", "stopped")["reason"].startswith("max_runs reached")


def test_the_rate_delays_and_rejects_nothing(start):
    service = start()
    rate = {"max_runs_per_minute": 2}
    service.create("hasty", loop={"max_runs": 4}, guardrails=rate)
    service.post("agents/hasty/start")
    wait_until(lambda: service.suggestions("hasty", state="approved"))
    wait_until(lambda: len(service.suggestions("hasty", state="ingested")) == 2)
    assert service.suggestions("hasty", state="approved"), "the third waits"
    assert service.status("hasty")["state"] == "running"
    # whoever lets it go sees it go at once
    service.http.patch("/api/v1/agents/hasty", json={"guardrails": {"max_runs_per_minute": 1000}}).raise_for_status()
    service.until("hasty", "stopped")
    assert rejected(service, "hasty") == []
    handed_over = [
        datetime.fromisoformat(one["time"])
        for one in service.get("agents/hasty/history", limit=1000)["items"]
        if one["data"].get("state") == "submitted"
    ]
    assert len(handed_over) == 4


def test_what_is_no_guardrail(start):
    service = start()
    for rails in (
        {"max_step": {"z": 1}},
        {"max_step": {"x": 0}},
        {"max_step": {"x": -1}},
        {"max_runs_per_minute": 0},
        {"budget_runs": -1},
        {"budget_time_s": -0.1},
        {"plans": "acquire"},
        {"speed": 1},
    ):
        spec = {"name": "a", "type": "brainbox:Walker", "actuators": ["x", "y"], "outcome": "signal"}
        service.problem("POST", "agents", 422, "invalid_input", json={**spec, "guardrails": rails})
    service.create("a")
    service.problem("PATCH", "agents/a", 422, "invalid_config", json={"guardrails": {"max_step": {"z": 1}}})


def test_a_plan_that_is_taken_back_counts_as_none(start):
    rig.gate.clear()
    service = start()
    service.create("taken", plan="gated", loop={"n_points": 2}, guardrails={"budget_runs": 2})
    service.post("agents/taken/start")

    def fates():
        return [one["state"] for one in service.suggestions("taken")]

    wait_until(lambda: fates() == ["running", "submitted"], what="the second plan, handed ahead")
    service.post("agents/taken/pause")
    wait_until(lambda: fates() == ["running", "approved"])
    rig.gate.set()
    service.post("agents/taken/resume")
    service.until("taken", "stopped")
    assert fates() == ["ingested", "ingested"]


def test_a_step_is_counted_from_where_a_person_sent_the_actuator_too(start):
    service = start()
    service.create("mover", config={"step": 3, "limit": 2}, loop={"max_runs": 1})
    service.post("agents/mover/start")
    service.until("mover", "stopped")
    service.http.patch("/api/v1/agents/mover", json={"loop": {"max_runs": 2}}).raise_for_status()
    service.post("agents/mover/start")
    service.until("mover", "stopped")  # x is at 3 now, and was best at 0
    service.post("agents/mover/go-to-best")
    best = service.get("agents/mover/best")["items"][0]["point"]["x"]
    service.create("next", config={"limit": 1}, guardrails={"max_step": {"x": 0.5}})
    service.post("agents/next/start")
    service.until("next", "stopped")
    assert best == 0.0
    assert [one["state"] for one in service.suggestions("next")] == ["ingested"]


def test_a_step_begins_where_the_actuator_is(start):
    rig.x.set(7.0).wait(5)  # before anything of this service moved it
    service = start()
    service.create("first", config={"limit": 1}, guardrails={"max_step": {"x": 2}})
    service.post("agents/first/start")
    service.until("first", "stopped")
    assert rejected(service, "first") == [(0.0, "guardrails.max_step.x: x = 0 is 7 from 7, more than 2")]
    assert service.suggestions("first", state="submitted") == []
    assert rig.x.position == 7.0


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"bounds": {"x": [5, 6]}}, "bounds.x"),
        ({"plans": ["other"]}, "plans"),
        ({"budget_runs": 0}, "budget_runs"),
        (None, "max_step.x"),
    ],
)
def test_a_plan_that_waits_is_looked_at_again_when_its_turn_has_come(start, change, rule):
    service = start()
    service.post("queue/pause")
    service.create("waits", config={"limit": 1}, guardrails={"max_step": {"x": 2}, "budget_runs": 1})
    service.post("agents/waits/start")
    wait_until(lambda: service.suggestions("waits", state="submitted"))
    if change:
        service.http.patch("/api/v1/agents/waits", json={"guardrails": change}).raise_for_status()
    else:
        rig.x.set(9.0).wait(5)  # somebody else moved it
    before = rig.x.position
    service.post("queue/resume")
    service.until("waits", "stopped")
    [(_, reason)] = rejected(service, "waits")
    assert reason.startswith(f"guardrails.{rule}: ")
    assert rig.x.position == before, "nothing moved"


def test_nobody_goes_to_the_best_point_in_a_leap(start):
    service = start()
    service.create("leaper", config={"step": 3}, loop={"max_runs": 2})  # best at 0, then to 3
    service.post("agents/leaper/start")
    service.until("leaper", "stopped")
    service.http.patch("/api/v1/agents/leaper", json={"guardrails": {"max_step": {"x": 2}}}).raise_for_status()
    found = service.problem("POST", "agents/leaper/go-to-best", 422, "out_of_bounds")
    assert found["errors"][0]["field"] == "guardrails.max_step.x"
    assert rig.x.position == 3.0
    service.http.patch("/api/v1/agents/leaper", json={"guardrails": {"max_step": {"x": 3}}}).raise_for_status()
    service.post("agents/leaper/go-to-best")
    assert rig.x.position == 0.0


def test_limits_of_the_service_hold_beside_the_agent_s_own(start):
    limits = {"bounds": {"x": [-1, 1.5]}, "max_step": {"x": 1}, "plans": ["acquire"], "budget_runs": 3}
    service = start(guardrails=limits)
    assert service.get("service")["guardrails"]["bounds"] == {"x": [-1, 1.5]}
    service.create("free", config={"limit": 4}, guardrails={"bounds": {"x": [-9, 9], "y": [-9, 9]}, "budget_runs": 9})
    service.http.patch("/api/v1/agents/free", json={"guardrails": {"bounds": {}, "plans": None}}).raise_for_status()
    service.post("agents/free/start")
    service.until("free", "stopped")
    assert [at for at, _ in rejected(service, "free")] == [2.0, 3.0]
    assert rejected(service, "free")[0][1] == "guardrails.bounds.x: x = 2 is outside [-1, 1.5]"
    service.create("leaps", config={"step": 1.4, "limit": 2}, guardrails={"max_step": {"x": 3}})
    rig.x.set(0.0).wait(5)
    service.post("agents/leaps/start")
    service.until("leaps", "stopped")
    assert [reason.partition(":")[0] for _, reason in rejected(service, "leaps")] == ["guardrails.max_step.x"]
    service.create("other", plan="leisurely", config={"limit": 1})
    service.post("agents/other/start")
    service.until("other", "stopped")
    assert rejected(service, "other")[0][1] == "guardrails.plans: the plan leisurely is not on the list: acquire"
    service.create("inbox", loop={"approval": "required"})
    service.post("agents/inbox/start")
    [one] = wait_until(lambda: service.suggestions("inbox", state="proposed"))
    edit = {"json": {"point": {"x": 5.0, "y": 0.0}}}
    service.problem("POST", f"suggestions/{one['id']}/approve", 422, "out_of_bounds", **edit)
    service.post("agents/inbox/stop")


@pytest.mark.parametrize(
    ("position", "code"),
    [(True, "point"), ("1", "point"), (None, "input"), ([1], "input"), ({}, "input")],
    ids=str,
)
def test_an_edited_point_holds_numbers(start, position, code):
    service = start()
    service.create("edited", loop={"approval": "required"})
    service.post("agents/edited/start")
    [one] = wait_until(lambda: service.suggestions("edited", state="proposed"))
    edit = {"json": {"point": {"x": position, "y": 0.0}}}
    service.problem("POST", f"suggestions/{one['id']}/approve", 422, f"invalid_{code}", **edit)
    assert service.get(f"suggestions/{one['id']}")["state"] == "proposed"


@pytest.mark.parametrize(
    "rails",
    [
        {"bounds": {"x": [True, 5]}},
        {"max_step": {"x": True}},
        {"max_runs_per_minute": True},
        {"budget_runs": True},
        {"budget_time_s": True},
    ],
    ids=str,
)
def test_true_is_no_limit(served, rails):
    body = {"name": "true", "type": "brainbox:Walker", "actuators": ["x", "y"], "outcome": "signal"}
    said = served.problem("POST", "agents", 422, "invalid_input", json={**body, "guardrails": rails})["detail"]
    assert "is true or false, not a number" in said
