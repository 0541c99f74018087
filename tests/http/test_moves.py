"""All that can move, tried with a key that has `control` only: nothing moves but what guardrails and approval allow.

docs/security.md lists the ways; each has its test here.
"""

import signal
import threading

import pytest
import rig
from people import person, problem
from services import wait_until

REQUIRED = {"loop": {"approval": "required"}}
FAR = {"points": [{"x": 4.0, "y": 4.0, "signal": 99.0}]}
"""A point made up, the best there ever was."""


@pytest.fixture(autouse=True)
def _at_zero():
    rig.gate.clear()
    rig.measuring.clear()
    for device in (rig.x, rig.y):
        device.set(0.0).wait(5)
    yield
    rig.gate.set()


@pytest.fixture
def service(start):
    return start()


@pytest.fixture
def program(service):
    """A program that was given `control` to run agents."""
    with person(service, "program", "read,control") as client:
        yield client


def where():
    return rig.x.position, rig.y.position


def rejected(service, name):
    return [one["reason"] for one in service.suggestions(name, state="rejected")]


# moves without a suggestion -------------------------------------------------------------------------------------------


def test_a_made_up_best_point_moves_nothing_without_a_person_s_word(service, program):
    service.create("asks", **REQUIRED)
    program.post("agents/asks/start").raise_for_status()
    program.post("agents/asks/ingest", json=FAR).raise_for_status()
    program.post("agents/asks/pause").raise_for_status()
    status, code, said = problem(program.post("agents/asks/go-to-best"))
    assert (status, code) == (403, "forbidden")
    assert "needs the scope 'approve'" in said
    assert where() == (0.0, 0.0)
    with person(service, "alice", "approve") as alice:
        assert alice.post("agents/asks/go-to-best").json()["point"] == {"x": 4.0, "y": 4.0}
    assert where() == (4.0, 4.0)
    moves = [one["data"] for one in service.get("agents/asks/history")["items"] if one["kind"] == "queue.state"]
    assert [(one["command"], one["by"], one["point"]) for one in moves] == [
        ("move", "alice", {"x": 4.0, "y": 4.0}),
        ("moved", "alice", {"x": 4.0, "y": 4.0}),
    ]
    assert moves[1]["begun"] is True
    assert moves[1]["run_time_s"] > 0


def paused_with_best(service, name, **spec):
    service.create(name, **{**REQUIRED, **spec})
    service.post(f"agents/{name}/start?paused=true")
    service.post(f"agents/{name}/ingest", FAR)


@pytest.mark.parametrize(
    ("rails", "rule"),
    [
        ({"bounds": {"x": [-1, 1]}}, "bounds.x: x = 4 is outside"),
        ({"max_step": {"y": 1}}, "max_step.y: y = 4 is 4 from 0"),
        ({"budget_runs": 0}, "budget_runs"),
        ({"budget_time_s": 0}, "budget_time_s"),
        ({"plans": ["acquire"]}, "plans: the plan move_to is not on the list"),
    ],
)
@pytest.mark.parametrize("whose", ["agent", "service"])
def test_a_move_passes_every_guardrail(start, rails, rule, whose):
    service = start(guardrails=rails if whose == "service" else {})
    paused_with_best(service, "mover", guardrails=rails if whose == "agent" else {})
    found = service.problem("POST", "agents/mover/go-to-best", 422, "out_of_bounds")
    assert f"guardrails.{rule}" in found["detail"]
    assert where() == (0.0, 0.0)
    facts = [one["data"] for one in service.get("agents/mover/history")["items"] if one["kind"] == "queue.state"]
    assert not any(one.get("begun") for one in facts)


def test_a_move_counts_against_the_budget_of_runs(service):
    paused_with_best(service, "mover", guardrails={"budget_runs": 1})
    service.post("agents/mover/go-to-best")
    found = service.problem("POST", "agents/mover/go-to-best", 422, "out_of_bounds")
    assert "budget_runs: 1 runs were begun" in found["detail"]
    service.post("agents/mover/resume")
    assert "budget_runs" in service.until("mover", "stopped")["reason"]


def test_a_move_counts_against_the_budget_of_time_also_after_a_restart(start, tmp_path):
    service = start()
    paused_with_best(service, "mover", guardrails={"budget_time_s": 1e-9})
    service.post("agents/mover/go-to-best")
    assert "budget_time_s" in service.problem("POST", "agents/mover/go-to-best", 422, "out_of_bounds")["detail"]
    service.close()
    service = start()
    wait_until(lambda: service.status("mover")["state"] == "paused")
    assert "budget_time_s" in service.problem("POST", "agents/mover/go-to-best", 422, "out_of_bounds")["detail"]


def test_a_move_counts_in_the_rate(service):
    paused_with_best(service, "mover", guardrails={"max_runs_per_minute": 1})
    service.post("agents/mover/go-to-best")
    found = service.problem("POST", "agents/mover/go-to-best", 422, "out_of_bounds")
    assert "max_runs_per_minute: 1 a minute are allowed" in found["detail"]


@pytest.fixture
def busy(service):
    """A service whose queue is busy until the gate opens."""
    service.create("busy", plan="gated", loop={"max_runs": 1}, config={"limit": 1})
    service.post("agents/busy/start")
    assert rig.measuring.wait(20)
    return service


def go(service, name, answers):
    answers.append(service.http.post(f"/api/v1/agents/{name}/go-to-best"))


def waiting_move(service, name):
    """Press go-to-best while the queue is busy; the move waits for its turn."""
    answers = []
    thread = threading.Thread(target=go, args=(service, name, answers))
    thread.start()
    wait_until(lambda: service.get("queue")["pending"] == 1)
    return thread, answers


@pytest.mark.parametrize("what", ["the guardrails", "the device"])
def test_a_move_that_waits_is_looked_at_when_its_turn_has_come(busy, what):
    paused_with_best(busy, "mover", guardrails={"max_step": {"x": 5}, "budget_runs": 1})
    thread, answers = waiting_move(busy, "mover")
    if what == "the guardrails":
        busy.http.patch("/api/v1/agents/mover", json={"guardrails": {"bounds": {"x": [-1, 1]}}}).raise_for_status()
    else:
        rig.x.set(-3.0).wait(5)  # the plan under way has measured there; it goes to 0
        busy.http.patch("/api/v1/agents/mover", json={"guardrails": {"max_step": {"x": 3.5}}}).raise_for_status()
    rig.gate.set()
    thread.join(20)
    status, code, said = problem(answers[0])
    assert (status, code) == (422, "out_of_bounds")
    assert said.startswith("guardrails.")
    assert where() == (0.0, 0.0)
    rails = {"bounds": {}, "max_step": {}}
    busy.http.patch("/api/v1/agents/mover", json={"guardrails": rails}).raise_for_status()
    busy.post("agents/mover/go-to-best")  # what did not begin was not counted
    assert where() == (4.0, 4.0)


@pytest.mark.parametrize("end", ["queue/abort", "agents/mover/stop"])
def test_a_move_that_waits_is_taken_back_by_a_stop(busy, end):
    paused_with_best(busy, "mover")
    thread, answers = waiting_move(busy, "mover")
    busy.post(end)
    rig.gate.set()
    thread.join(20)
    assert answers[0].status_code == 503
    assert where() == (0.0, 0.0)


def test_a_move_of_an_agent_that_is_removed_meanwhile_is_taken_back(busy):
    busy.create("mover", **REQUIRED)
    busy.post("agents/mover/start")
    busy.post("agents/mover/ingest", FAR)
    busy.post("agents/mover/stop")
    thread, answers = waiting_move(busy, "mover")
    assert busy.http.delete("/api/v1/agents/mover").status_code == 204
    busy.create("mover", **REQUIRED)  # of the same name, and with limits of its own
    rig.gate.set()
    thread.join(20)
    assert answers[0].status_code == 503
    assert where() == (0.0, 0.0)


# suggestions ----------------------------------------------------------------------------------------------------------


def test_what_a_program_asks_for_is_proposed_and_stays_so(service, program):
    service.create("asks", **REQUIRED)
    program.post("agents/asks/start").raise_for_status()
    program.post("agents/asks/suggest", json={"n_points": 3}).raise_for_status()
    wait_until(lambda: len(service.suggestions("asks", state="proposed")) == 4)
    program.post("agents/asks/restart").raise_for_status()
    for one in service.suggestions("asks", state="proposed"):
        for word in ("approve", "reject"):
            assert program.post(f"suggestions/{one['id']}/{word}").status_code == 403
    assert where() == (0.0, 0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"loop": {"approval": "auto"}},
        {"guardrails": {"bounds": {}}},
        {"guardrails": {"max_step": {"x": 9}}},
        {"guardrails": {"budget_runs": None}},
        {"guardrails": {"plans": None}},
    ],
)
def test_a_program_loosens_nothing(service, program, change):
    rails = {"bounds": {"x": [0, 1]}, "max_step": {"x": 1}, "budget_runs": 3, "plans": ["acquire"]}
    service.create("held", guardrails=rails, **REQUIRED)
    assert problem(program.patch("agents/held", json=change))[:2] == (403, "forbidden")
    spec = service.status("held")["spec"]
    assert spec["loop"]["approval"] == "required"
    assert spec["guardrails"]["bounds"] == {"x": [0, 1]}


@pytest.mark.parametrize("field", ["plan", "actuators", "sensors"])
def test_nobody_changes_plan_or_devices_between_approval_and_turn(service, program, field):
    service.create("fixed")
    change = {field: "other" if field == "plan" else ["y"]}
    assert problem(program.patch("agents/fixed", json=change))[:2] == (422, "invalid_input")


def test_what_was_approved_by_itself_is_not_measured_once_a_person_must_approve(busy, program):
    busy.create("eager", loop={"n_points": 3})
    busy.post("agents/eager/start")
    wait_until(lambda: len(busy.suggestions("eager")) == 3 and busy.suggestions("eager", state="submitted"))
    program.patch("agents/eager", json=REQUIRED).raise_for_status()
    rig.gate.set()
    wait_until(lambda: len(busy.suggestions("eager", state="proposed")) == 3)
    assert len(rejected(busy, "eager")) == 3, "and nothing counts as a fault of the agent's"
    assert all("nobody approved this point" in one for one in rejected(busy, "eager"))
    assert busy.suggestions("eager", state="ingested") == []


def test_what_a_person_approved_is_measured_once(service):
    service.create("asks", **REQUIRED)
    service.post("agents/asks/start")
    [one] = wait_until(lambda: service.suggestions("asks", state="proposed"))
    service.post(f"suggestions/{one['id']}/approve", {"point": {"x": 0.5, "y": 0.25}})
    wait_until(lambda: service.get(f"suggestions/{one['id']}")["state"] == "ingested")
    assert where() == (0.5, 0.25)


def test_an_edited_point_passes_the_guardrails_at_its_turn(busy):
    busy.create("asks", guardrails={"max_step": {"x": 1}}, **REQUIRED)
    busy.post("agents/asks/start")
    [one] = wait_until(lambda: busy.suggestions("asks", state="proposed"))
    busy.post(f"suggestions/{one['id']}/approve", {"point": {"x": 0.5, "y": 0.25}})
    wait_until(lambda: busy.get(f"suggestions/{one['id']}")["state"] == "submitted")
    busy.http.patch("/api/v1/agents/asks", json={"guardrails": {"max_step": {"x": 0.1}}}).raise_for_status()
    rig.gate.set()
    wait_until(lambda: rejected(busy, "asks"))
    assert rejected(busy, "asks")[0].startswith("guardrails.max_step.x: x = 0.5 is 0.5 from 0")
    assert where() == (0.0, 0.0)


def test_a_queue_that_goes_on_after_an_abort_measures_only_what_was_approved(service, program):
    service.create("asks", **REQUIRED)
    service.post("agents/asks/start")
    wait_until(lambda: service.suggestions("asks", state="proposed"))
    program.post("queue/abort").raise_for_status()
    service.until("asks", "paused")
    program.post("queue/resume").raise_for_status()
    service.until("asks", "running")
    assert [one["state"] for one in service.suggestions("asks")] == ["proposed"]
    assert where() == (0.0, 0.0)


def test_variables_and_methods_change_a_brain_and_move_nothing(service, program):
    service.create("asks", type="brainbox:Walker", **REQUIRED)
    service.post("agents/asks/start")
    wait_until(lambda: service.suggestions("asks", state="proposed"))
    program.put("agents/asks/variables/gain", json={"value": 9.0}).raise_for_status()
    assert [one["state"] for one in service.suggestions("asks")] == ["proposed"]
    assert where() == (0.0, 0.0)


def test_the_service_requires_approval_for_everybody(start):
    service = start(guardrails={"approval": "required"})
    assert service.get("service")["guardrails"]["approval"] == "required"
    with person(service, "program", "read,control") as program:
        spec = {
            "name": "bold",
            "type": "sequence",
            "config": {"points": [{"x": 4.0, "y": 4.0}]},
            "actuators": ["x", "y"],
            "sensors": ["signal"],
            "outcome": "signal",
            "loop": {"approval": "auto"},
        }
        program.post("agents", json=spec).raise_for_status()
        program.post("agents/bold/start").raise_for_status()
        [one] = wait_until(lambda: service.suggestions("bold"))
        assert one["state"] == "proposed"
        program.patch("agents/bold", json={"loop": {"approval": "auto"}}).raise_for_status()
        assert problem(program.post(f"suggestions/{one['id']}/approve"))[0] == 403
    assert where() == (0.0, 0.0)
    service.post(f"suggestions/{one['id']}/approve")
    wait_until(lambda: where() == (4.0, 4.0))


def test_a_point_that_comes_back_after_a_crash_is_approved_anew(process, monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_RUN_ENGINE__PROCESS", "false")  # one of its own outlives the crash, with its run
    with process.start() as client:
        client.create(
            name="asks",
            type="brainbox:Walker",
            actuators=["x", "y"],
            sensors=["signal"],
            outcome="signal",
            plan="endless",
            loop={"approval": "required"},
        )
        client.start("asks")
        [one] = wait_until(lambda: client.suggestions("asks"))
        client.approve(one.id)
        wait_until(lambda: client.suggestion(one.id).state == "running")
        process.end(signal.SIGKILL)
    with process.start() as client:
        again = wait_until(lambda: [each for each in client.suggestions("asks") if each.retry_of == one.id])
        assert [each.state for each in again] == ["proposed"]


@pytest.mark.parametrize(("rule", "limits"), [("bounds", {"x": [-1, 1]}), ("rules", ["abs(x - y) <= 1"])])
def test_a_part_of_a_device_does_not_pass_by_the_limits_of_the_device(start, rule, limits):
    service = start(guardrails={rule: limits})
    with person(service, "program", "read,control") as program:
        spec = {
            "name": "sly",
            "type": "sequence",
            "config": {"points": [{"x_setpoint": 4.0}]},
            "actuators": ["x_setpoint"],
            "sensors": ["signal"],
            "outcome": "signal",
            "guardrails": {"bounds": {"x_setpoint": [-9, 9]}},
        }
        refused = program.post("agents", json=spec)
        assert (refused.status_code, refused.json()["code"]) == (422, "out_of_bounds")
        assert refused.json()["detail"].startswith(f"guardrails.{rule}.x: x_setpoint is a part of x")
    assert rig.x.setpoint.get() == 0.0


def test_a_key_with_control_makes_agents_within_what_the_service_allows(start):
    limits = {"bounds": {"x": [-1, 1], "y": [-1, 1]}}
    service = start(guardrails=limits)
    with person(service, "program", "read,control") as program:
        spec = {
            "name": "bold",
            "type": "sequence",
            "config": {"points": [{"x": 4.0, "y": 0.5}, {"x": 0.5, "y": 0.5}]},
            "actuators": ["x", "y"],
            "sensors": ["signal"],
            "outcome": "signal",
            "guardrails": {"bounds": {"x": [-9, 9], "y": [-9, 9]}},
        }
        program.post("agents", json=spec).raise_for_status()
        program.post("agents/bold/start").raise_for_status()
        service.until("bold", "stopped")
        code = {**spec, "name": "code", "type": "brainbox:Walker", "config": {}}
        assert problem(program.post("agents", json=code))[:2] == (403, "forbidden")
    assert rejected(service, "bold")[0].startswith("guardrails.bounds.x: ")
    assert where() == (0.5, 0.5)
