"""Limits that nobody asked for: what devices state holds, at every place where a point is looked at."""

import threading

import limited
import pytest
from services import wait_until

from agent_service.errors import InvalidInput


@pytest.fixture
def serve(start):
    limited.Careless.limits = (-5.0, 5.0)
    limited.talks.set()
    for device in (limited.careless, limited.picky, limited.shy, limited.far, limited.x, limited.y):
        device.set(0.0).wait(5)
    yield lambda **sections: start(run_engine={"startup": "limited"}, **sections)
    limited.talks.set()


def create(service, name, *actuators, points=None, **spec):
    config = {"points": [dict(zip(actuators, one, strict=True)) for one in points or [[0.0] * len(actuators)]]}
    what = {"type": "sequence", "config": config, "actuators": list(actuators), "sensors": ["signal"]}
    return service.create(name, **what, **spec)


def run(service, name):
    service.post(f"agents/{name}/start")
    service.until(name, "stopped")
    return [(one["state"], one["reason"]) for one in service.suggestions(name)]


def test_an_agent_that_suggests_a_million_goes_nowhere(serve):
    service = serve()
    create(service, "wild", "careless", points=[[1e6], [2.0], [float(-5)]])
    assert run(service, "wild") == [
        ("rejected", "device_limits.careless: careless = 1e+06 is outside [-5, 5], the limits that the device states"),
        ("ingested", None),
        ("ingested", None),
    ]
    assert limited.careless.position == -5.0


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("careless", [-5, 5]),
        ("record", [-4, 4]),
        ("positioner", [0, 1]),
        ("pseudo3x3_pseudo1", [-10, 10]),
        ("modern", [-2, 2]),
    ],
)
def test_each_kind_of_device_says_its_limits(serve, name, limits):
    service = serve()
    status = create(service, "a", name, points=[[1e6]])
    assert status["limits"] == {name: limits}
    assert status["no_limits"] == []
    [(state, reason)] = run(service, "a")
    assert (state, reason.partition(":")[0]) == ("rejected", f"device_limits.{name}")


def test_the_stricter_of_device_agent_and_service_counts(serve):
    service = serve(guardrails={"bounds": {"careless": [None, 4]}})
    status = create(
        service, "a", "careless", points=[[-4.5], [-3.0], [4.5]], guardrails={"bounds": {"careless": [-4, None]}}
    )
    assert status["limits"] == {"careless": [-4, 4]}
    fates = run(service, "a")
    assert [state for state, _ in fates] == ["rejected", "ingested", "rejected"]
    assert fates[0][1] == "guardrails.bounds.careless: careless = -4.5 is outside [-4, 4]"


def test_what_the_device_says_when_the_turn_has_come_counts(serve):
    service = serve()
    service.post("queue/pause")
    create(service, "waits", "careless", points=[[4.0]])
    service.post("agents/waits/start")
    wait_until(lambda: service.suggestions("waits", state="submitted"))
    limited.Careless.limits = (-1.0, 1.0)
    service.post("queue/resume")
    service.until("waits", "stopped")
    [one] = service.suggestions("waits")
    assert (one["state"], one["reason"].partition(":")[0]) == ("rejected", "device_limits.careless")
    assert limited.careless.position == 0.0
    assert service.status("waits")["limits"] == {"careless": [-1, 1]}


@pytest.mark.parametrize("trouble", [None, ConnectionError("the crate is off")], ids=["hangs", "raises"])
def test_a_rule_counts_on_no_place_where_a_device_was_once(serve, monkeypatch, trouble):
    service = serve(guardrails={"rules": ["abs(x - far) <= 3"]})
    create(service, "before", "x", points=[[1.0]])
    assert run(service, "before") == [("ingested", None)]
    limited.far.set(20.0).wait(5)
    monkeypatch.setattr(limited.far, "trouble", trouble, raising=False)
    if trouble is None:
        limited.talks.clear()
    create(service, "after", "x", points=[[2.0]])
    said = "guardrails.rules: abs(x - far) <= 3 cannot be judged: nobody knows where far is"
    assert run(service, "after") == [("rejected", said)]
    assert limited.x.position == 1.0


def test_a_rule_knows_a_device_by_its_readback_too(serve):
    service = serve(guardrails={"rules": ["abs(x - positioner) <= 3"]})
    limited.positioner.readback.sim_put(9.0)
    create(service, "a", "x", points=[[1.0], [8.0]], guardrails={"max_step": {"x": 99}})
    assert [state for state, _ in run(service, "a")] == ["rejected", "ingested"]


def test_the_setpoint_of_a_device_keeps_the_limits_of_the_device(serve):
    service = serve()
    wide = {"bounds": {"careless_setpoint": [-1e9, 1e9]}}
    create(service, "sly", "careless_setpoint", points=[[400.0], [4.0]], guardrails=wide)
    assert [state for state, _ in run(service, "sly")] == ["rejected", "ingested"]
    assert limited.careless.setpoint.get() == 4.0


def test_limits_that_were_widened_since_forbid_nothing(serve):
    service = serve()
    create(service, "early", "careless", points=[[7.0], [8.0]])
    service.post("agents/early/start?paused=true")
    limited.Careless.limits = (-9.0, 9.0)  # since it was asked last
    [one] = service.post("agents/early/suggest", {"n_points": 1})["suggestions"]
    assert (one["state"], one["point"]) == ("proposed", {"careless": 7.0})
    assert service.status("early")["limits"] == {"careless": [-9, 9]}


def test_go_to_best_keeps_to_what_the_device_says_now(serve):
    service = serve()
    create(service, "a", "careless", points=[[4.0], [0.0]])
    run(service, "a")
    service.post("agents/a/start?paused=true")
    service.post("agents/a/ingest", {"points": [{"careless": 4.5, "signal": 9.0}]})
    service.post("agents/a/stop")
    best = service.get("agents/a/best")["items"]
    limited.Careless.limits = (-1.0, 1.0)
    if best:
        service.problem("POST", "agents/a/go-to-best", 422, "out_of_bounds")
    assert limited.careless.position == 0.0


def test_an_actuator_without_limits_is_said_to_have_none_until_somebody_sets_some(serve, caplog):
    service = serve()
    status = create(service, "free", "x", "y", points=[[1.0, 1.0]])
    assert (status["no_limits"], status["limits"]) == (["x", "y"], {})
    said = "no limits for x and y: neither the device nor guardrails bound them"
    assert [one.getMessage() for one in caplog.records if said in one.getMessage()]

    def patch(**rails):
        return (
            service.http.patch("/api/v1/agents/free", json={"guardrails": rails}).raise_for_status().json()["no_limits"]
        )

    assert patch(bounds={"x": [0, None]}) == ["y"]
    assert patch(unbounded=["y"]) == []
    assert patch(bounds={}, unbounded=["x"]) == ["y"]


def test_a_device_that_hangs_holds_nobody_up(serve):
    service = serve()
    create(service, "before", "shy")
    limited.talks.clear()
    status = create(service, "a", "shy", "careless", points=[[9.0, 0.0], [1.0, 0.0]])
    assert status["limits"] == {"shy": [-3, 3], "careless": [-5, 5]}, "what it said last holds"
    assert status["limits_unread"] == {"shy": "no answer within 2 s"}
    [(state, reason), measured] = run(service, "a")
    assert (state, reason.partition(":")[0]) == ("rejected", "device_limits.shy")
    assert measured == ("ingested", None)
    assert [one.name for one in threading.enumerate() if one.name == "asking:shy"] == ["asking:shy"], "asked once"
    limited.talks.set()
    wait_until(lambda: not service.status("a")["limits_unread"], what="the late answer")


def test_a_device_that_cannot_be_asked_is_said_to_be_so(serve):
    service = serve()
    status = create(service, "a", "broken", points=[[1.0]])
    assert status["limits_unread"] == {"broken": "ConnectionError: the crate is off"}
    assert status["no_limits"] == ["broken"]
    assert run(service, "a") == [("ingested", None)]


def test_rules_hold_across_actuators(serve):
    service = serve()
    rules = ["abs(x - y) <= 3", "1 / x != 0.5"]
    create(service, "a", "x", "y", points=[[1, 1], [5, 1], [0, 1], [2, 1]], guardrails={"rules": rules})
    fates = run(service, "a")
    assert fates == [
        ("ingested", None),
        ("rejected", "guardrails.rules: abs(x - y) <= 3 does not hold: x = 5, y = 1"),
        ("rejected", "guardrails.rules: 1 / x != 0.5 cannot be judged at x = 0: float division by zero"),
        ("rejected", "guardrails.rules: 1 / x != 0.5 does not hold: x = 2"),
    ]


def test_a_rule_looks_where_the_other_actuator_is_now(serve):
    service = serve()
    create(service, "a", "x", points=[[1.0], [2.5], [3.0]], guardrails={"rules": ["abs(x - modern) <= 2"]})
    assert [state for state, _ in run(service, "a")] == ["ingested", "rejected", "rejected"]
    service.post("queue/pause")
    create(service, "b", "x", points=[[1.0]], guardrails={"rules": ["abs(x - y) <= 2"]})
    service.post("agents/b/start")
    wait_until(lambda: service.suggestions("b", state="submitted"))
    limited.y.set(9.0).wait(5)  # somebody moved it meanwhile
    service.post("queue/resume")
    service.until("b", "stopped")
    assert service.suggestions("b")[0]["reason"] == "guardrails.rules: abs(x - y) <= 2 does not hold: x = 1, y = 9"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("abs(x - z) <= 3", "names z, which is no actuator of agent 'a'; there is no device 'z'"),
        ("abs(x - stage) <= 3", "names stage, which is no actuator of agent 'a'; the device 'stage' has no set"),
        ("y <= 3", "names no actuator of this agent"),
        ("abs(x - y <= 3", "cannot be read as a rule"),
        ("abs(x)", "is a number, neither true nor false"),
        ("__import__('os').system('true') == x", "is not possible here"),
        ("x " * 300, "at most 500 characters"),
    ],
)
def test_what_is_no_rule_is_refused_at_creation_and_at_a_change(serve, rule, said):
    service = serve()
    spec = {
        "name": "a",
        "type": "sequence",
        "config": {"points": [{"x": 0}]},
        "actuators": ["x"],
        "sensors": ["signal"],
    }
    spec["outcome"] = "signal"
    answer = service.http.post("/api/v1/agents", json={**spec, "guardrails": {"rules": [rule]}})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    create(service, "a", "x")
    answer = service.http.patch("/api/v1/agents/a", json={"guardrails": {"rules": [rule]}})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert service.status("a")["spec"]["guardrails"]["rules"] == []


def test_rules_of_the_service_hold_for_whom_they_concern(serve):
    service = serve(guardrails={"rules": ["abs(x - y) <= 2"]})
    create(service, "one", "x", points=[[1.0], [3.0]])
    assert [state for state, _ in run(service, "one")] == ["ingested", "rejected"]
    create(service, "other", "careless", points=[[4.0]])
    assert run(service, "other") == [("ingested", None)]
    service.close()
    with pytest.raises(InvalidInput, match="nobody would be no limit of anything: there is no device 'nobody'"):
        serve(guardrails={"rules": ["x < nobody"]}, service={"catalog": "none"})


# the press ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(serve):
    """Return ``waiting(*actuators, point=..., **guardrails)``: a service, and a suggestion that waits for a word."""

    def make(*actuators, point, plan="acquire", **guardrails):
        service = serve()
        create(
            service,
            "inbox",
            *actuators,
            points=[point],
            loop={"approval": "required"},
            guardrails=guardrails,
            plan=plan,
        )
        service.post("agents/inbox/start")
        [one] = wait_until(lambda: service.suggestions("inbox", state="proposed"))
        return service, f"suggestions/{one['id']}"

    return make


@pytest.mark.parametrize(
    ("point", "rails", "field"),
    [
        ({"careless": 7, "y": 0}, {}, "device_limits.careless"),
        ({"careless": 2, "y": 0}, {"bounds": {"careless": [None, 1]}}, "guardrails.bounds.careless"),
        ({"careless": 2, "y": 0}, {"rules": ["careless < y"]}, "guardrails.rules"),
        ({"careless": 2, "y": 0}, {"max_step": {"careless": 1}}, "guardrails.max_step.careless"),
        ({"careless": -2, "y": 0}, {"plans": ["other"]}, "guardrails.plans"),
    ],
)
def test_what_is_forbidden_is_refused_at_the_press_and_says_which(waiting, point, rails, field):
    service, suggestion = waiting("careless", "y", point=[-0.5, 0.0], **rails)
    found = service.problem("POST", f"{suggestion}/approve", 422, "out_of_bounds", json={"point": point})
    assert [one["field"] for one in found["errors"]] == [field]
    one = service.get(suggestion)
    assert (one["state"], one["point"]) == ("proposed", {"careless": -0.5, "y": 0.0})


def test_a_device_refuses_at_the_press_and_takes_another_point(waiting):
    service, suggestion = waiting("picky", point=[2.0])
    found = service.problem("POST", f"{suggestion}/approve", 422, "out_of_bounds")
    assert found["errors"] == [
        {"field": "device.picky", "message": "the device refuses picky = 2: ValueError: 2 is even"}
    ]
    service.problem("POST", f"{suggestion}/approve", 422, "out_of_bounds", json={"point": {"picky": 4}})
    service.post(f"{suggestion}/approve", {"point": {"picky": 3}})
    service.until("inbox", "stopped")
    assert service.get(suggestion)["state"] == "ingested"


def test_a_device_refuses_at_the_turn_too(serve):
    service = serve()
    create(service, "auto", "picky", points=[[2.0], [3.0]])
    [(state, reason), measured] = run(service, "auto")
    assert (state, reason) == ("rejected", "device.picky: the device refuses picky = 2: ValueError: 2 is even")
    assert measured == ("ingested", None)


def test_pseudo_axes_are_asked_together(waiting):
    service, suggestion = waiting("pseudo3x3_pseudo1", "pseudo3x3_pseudo2", point=[1.0, 1.0])
    point = {"pseudo3x3_pseudo1": 20.0, "pseudo3x3_pseudo2": 0.0}
    found = service.problem("POST", f"{suggestion}/approve", 422, "out_of_bounds", json={"point": point})
    assert found["errors"][0]["field"] == "device_limits.pseudo3x3_pseudo1"


# parts of a device that is limited ------------------------------------------------------------------------------------

PARTS = [
    ({"bounds": {"pseudo.real1": [-1, 1]}}, "pseudo3x3_pseudo1", "guardrails.bounds.pseudo3x3_real1"),
    ({"rules": ["pseudo3x3_real1 < 1"]}, "pseudo3x3_pseudo1", "guardrails.rules.pseudo3x3_real1"),
    ({"bounds": {"one_way": [-1, 1]}}, "other_way", "guardrails.bounds.one_way"),
]
"""Limits of the service, an actuator that moves what they are about, and the limit's name."""


def says_part(part, field):
    whole = field.rpartition(".")[2]
    return (
        f"{part} is a part of {whole} or moves it, and {whole} is limited; take {whole} as the actuator, or limit "
        f"{part} there too"
    )


@pytest.mark.parametrize("process", [False, True], ids=["here", "in a process"])
@pytest.mark.parametrize(("rails", "part", "field"), PARTS)
def test_an_agent_that_moves_a_limited_device_past_its_limits_is_refused(start, rails, part, field, process):
    service = start(run_engine={"startup": "limited", "process": process}, guardrails=rails)
    about = {"type": "sequence", "config": {"points": [{part: -5.0}]}, "sensors": ["signal"], "outcome": "signal"}
    body = {"name": "sly", "actuators": [part], **about}
    found = service.problem("POST", "agents", 422, "out_of_bounds", json=body)
    assert found["errors"] == [{"field": field, "message": says_part(part, field)}]
    assert service.get("agents")["items"] == []
    limits = {"bounds": {part: [-9, 9]}}
    service.problem("POST", "agents", 422, "out_of_bounds", json={**body, "guardrails": limits})  # not the service's


def test_a_rule_that_a_change_brings_is_refused_too(serve):
    service = serve()
    create(service, "sly", "other_way", "x", points=[[5.0, 0.0]])
    rails = {"guardrails": {"rules": ["one_way < x"]}}
    found = service.problem("PATCH", "agents/sly", 422, "out_of_bounds", json=rails)
    field = "guardrails.rules.one_way"
    assert found["errors"] == [{"field": field, "message": says_part("other_way", field)}]
    assert service.status("sly")["spec"]["guardrails"]["rules"] == []


@pytest.mark.parametrize(("rails", "part", "field"), PARTS)
def test_an_agent_of_before_such_limits_is_refused_at_the_press_and_at_its_turn(serve, rails, part, field):
    service = serve()
    for name, approval in (("inbox", "required"), ("auto", "auto")):
        create(service, name, part, points=[[-5.0]], loop={"approval": approval})
    service.close()
    service = serve(guardrails=rails)
    service.post("agents/inbox/start")
    [one] = wait_until(lambda: service.suggestions("inbox", state="proposed"))
    found = service.problem("POST", f"suggestions/{one['id']}/approve", 422, "out_of_bounds")
    assert found["errors"] == [{"field": field, "message": says_part(part, field)}]
    [(state, reason)] = run(service, "auto")
    assert (state, says_part(part, field) in reason) == ("rejected", True)
    assert limited.pseudo.real1.position == limited.other_way.position == 0.0


def test_two_actuators_of_the_same_process_variable_are_refused(serve):
    actuators = ["one_way", "x", "other_way"]
    about = {"type": "sequence", "config": {"points": [dict.fromkeys(actuators, 0.0)]}, "outcome": "signal"}
    spec = {"name": "both", **about, "actuators": actuators, "sensors": ["signal"]}
    found = serve().problem("POST", "agents", 422, "invalid_input", json=spec)
    assert "one_way and other_way write the same process variable; take one of them" in found["detail"]
    assert found["errors"][0]["field"] == "actuators"


def test_a_device_that_hangs_does_not_hold_up_a_press(waiting):
    service, suggestion = waiting("shy", point=[1.0])
    limited.talks.clear()
    service.problem("POST", f"{suggestion}/approve", 422, "out_of_bounds", json={"point": {"shy": 4}})
    service.post(f"{suggestion}/approve", {"point": {"shy": 2}})
    service.until("inbox", "stopped")
    assert service.get(suggestion)["state"] == "ingested"


def test_a_step_is_judged_at_its_turn_while_something_else_is_to_move_before(waiting):
    service, suggestion = waiting("careless", point=[2.0], max_step={"careless": 1})
    service.problem("POST", f"{suggestion}/approve", 422, "out_of_bounds")
    service.post("queue/pause")
    create(service, "mover", "careless", points=[[1.5]])
    service.post("agents/mover/start")
    wait_until(lambda: service.suggestions("mover", state="submitted"))
    service.post(f"{suggestion}/approve")
    service.post("queue/resume")
    service.until("inbox", "stopped")
    assert service.get(suggestion)["state"] == "ingested"


def test_a_press_beyond_the_budget_is_refused(serve):
    service = serve()
    points, rails = [[1.0], [2.0]], {"budget_runs": 1}
    create(service, "inbox", "x", points=points, loop={"approval": "required", "n_points": 2}, guardrails=rails)
    service.post("queue/pause")
    service.post("agents/inbox/start")
    first, second = wait_until(lambda: service.suggestions("inbox", state="proposed"))
    service.post(f"suggestions/{first['id']}/approve")
    found = service.problem("POST", f"suggestions/{second['id']}/approve", 422, "out_of_bounds")
    assert found["errors"][0]["field"] == "guardrails.budget_runs"
    service.post("agents/inbox/stop")
    service.post("queue/resume")
