"""[security] modules: what is called is defined in a listed module, at creation and at every later start."""

import pytest
from services import running, wait_until

from agent_service.brains.allowed_modules import Listed
from agent_service.errors import InvalidInput
from agent_service.service.check import check
from agent_service.service.config import ServiceConfig

LISTS = {"modules": ["allowed"]}
SPEC = {"type": "allowed:Walker", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
OURS = ["Walker", "Walker.Inner", "Walker.long", "maker.make", "maker", "make", "ready", "cached", "Maker"]
THEIRS = [
    "os.system",
    "system",
    "os.path.join",
    "subprocess.Popen",
    "subprocess.run",
    "functools.partial",
    "TheirWalker",
    "theirs",
    "Walker.__subclasses__",
    "Walker.__class__",
    "Walker.suggest.__call__",
    "maker.make.__func__.__globals__.get",
    "__loader__.load_module",
    "__builtins__.get",
    "peak.__code__.replace",
]


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    with running(tmp_path_factory.mktemp("state"), security=LISTS) as service:
        yield service


@pytest.fixture
def served(listing):
    return listing


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_a_listed_module_defines_is_served(served, executor):
    for i, name in enumerate(one for one in OURS if one != "Maker"):
        agent = f"ours-{executor}-{i}"
        served.create(agent, **{**SPEC, "type": f"allowed:{name}"}, executor=executor, loop={"approval": "required"})
        served.post(f"agents/{agent}/start")
        assert served.status(agent)["state"] == "running", name
        served.post(f"agents/{agent}/stop")


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_it_only_holds_is_not(served, name, executor):
    body = {"name": "theirs", **SPEC, "type": f"allowed:{name}", "executor": executor}
    found = served.http.post("/api/v1/agents", json=body)
    assert found.status_code == 422, found.text
    if found.json()["code"] == "invalid_input":
        assert "[security] modules" in found.json()["detail"]
        assert [one["field"] for one in found.json()["errors"]] == ["type"]
    assert not [one for one in served.get("agents")["items"] if one["name"] == "theirs"]


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluate": "allowed:their_peak", "outcome": None},
        {"evaluate": "allowed:borrowed", "outcome": None},
        {"evaluate": "allowed:os.system", "outcome": None},
        {"plan": "allowed:list_scan"},
        {"plan": "allowed:bluesky.plans.scan"},
        {"plan": "allowed:bps.mv"},
        {"plan": "allowed:os.system"},
        {"plan": "brainbox:peak"},
        {"evaluate": "brainbox:peak", "outcome": None},
        {"type": "brainbox:Walker"},
        {"type": "allowedly:Walker"},
        {"plan": "agent_service.plans.library:bps.mv"},
    ],
)
def test_functions_and_plans_too(served, changes):
    body = {key: one for key, one in {"name": "theirs", **SPEC, **changes}.items() if one is not None}
    found = served.problem("POST", "agents", 422, "invalid_input", json=body)
    assert "[security] modules" in found["detail"]
    assert set(changes) >= {one["field"] for one in found["errors"]}


def test_a_loop_with_a_plan_and_a_function_of_a_listed_module(served):
    spec = {**SPEC, "evaluate": "allowed:peak", "plan": "allowed:scan"}
    served.create("looped", **spec, loop={"max_runs": 2})
    served.post("agents/looped/start")
    assert served.until("looped", "stopped", "failed")["progress"]["done"] == 2


def test_a_move_of_the_service_itself_is_nobodys_plan(served):
    served.create("mover", **SPEC, loop={"max_runs": 2})
    served.post("agents/mover/start")
    served.until("mover", "stopped", "failed")
    assert served.http.post("/api/v1/agents/mover/go-to-best", json={}).status_code == 200


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"type": "brainbox:Walker"}, "type names a module"),
        ({"type": "allowed:TheirWalker"}, "defined in brainbox"),
        ({"evaluate": "allowed:their_peak", "outcome": None}, "defined in brainbox"),
        ({"plan": "brainbox:peak"}, "plan names a module"),
    ],
)
@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_was_created_before_is_refused_at_a_later_start(tmp_path, spec, said, executor):
    """By a service that lists nothing, or one of 0.1.0: at its recovery, and when a person starts it."""
    named = {key: one for key, one in {**SPEC, **spec}.items() if one is not None}
    with running(tmp_path / "state") as before:
        for name in ("alive", "resting"):
            before.create(name, **named, executor=executor, loop={"approval": "required"})
        before.post("agents/alive/start")
        assert before.status("alive")["state"] == "running"
    with running(tmp_path / "state", security=LISTS) as after:
        wait_until(lambda: after.status("alive")["state"] == "failed", what="the agent failed")
        assert said in after.status("alive")["last_error"]["message"]
        assert "[security] modules" in after.status("alive")["reason"]
        for command in ("agents/alive/start", "agents/resting/start"):
            answer = after.http.post(f"/api/v1/{command}")
            assert answer.status_code == 422, answer.text
            assert said in answer.json()["detail"]


def test_a_plan_that_a_module_only_holds_moves_nothing_at_a_later_start(tmp_path):
    with running(tmp_path / "state") as before:
        before.create("alive", **{**SPEC, "plan": "allowed:list_scan"}, loop={"approval": "required"})
    with running(tmp_path / "state", security=LISTS) as after:
        after.post("agents/alive/start")
        [one] = after.post("agents/alive/suggest", {"n_points": 1})["suggestions"]
        after.post(f"suggestions/{one['id']}/approve")
        wait_until(lambda: after.get(f"suggestions/{one['id']}")["state"] == "failed", what="it was not measured")
        assert "defined in bluesky.plans" in after.get(f"suggestions/{one['id']}")["reason"]


def test_check_says_it_before_anything_is_served():
    agents = [{"name": "a", **SPEC, "type": "allowed:os.system"}, {"name": "b", **SPEC, "plan": "allowed:bps.mv"}]
    config = ServiceConfig(agents=agents, security=LISTS, run_engine={"startup": "rig"})
    found = check(config, devices=True)
    assert [one.field for one in found] == ["agents.0.type", "agents.1.plan"]
    assert all("[security] modules" in one.message for one in found)


def test_an_unlisted_module_is_not_even_imported():
    import sys

    assert "allowed_not" not in sys.modules
    from agent_service.models import AgentSpec

    with pytest.raises(InvalidInput):
        Listed.of(["allowed"]).refuse_named(AgentSpec(name="a", **{**SPEC, "type": "allowed_not:X"}))
    assert "allowed_not" not in sys.modules
