"""A plan that makes several runs for one suggestion: which of them counts is said, or the suggestion fails."""

import pytest
import rig
from services import wait_until

DARK = 1 - 8.0**2 - 0.5**2  # x = 9, y = 0


def light(suggestion):
    return pytest.approx(1 - (suggestion["point"]["x"] - 1) ** 2 - 0.5**2)


def measure(served, name, plan="dark_light", **spec):
    """Let an agent measure two points, or fail; return its suggestions."""
    served.create(name, plan=plan, **{"loop": {"max_runs": 2, "max_failures": 1}, **spec})
    served.post(f"agents/{name}/start")
    served.until(name, "stopped")
    return served.suggestions(name)


def test_without_a_word_it_fails_and_says_what_to_do(served):
    [one] = measure(served, "wordless")
    assert one["state"] == "failed"
    assert one["outcome"] is None
    assert one["reason"].startswith(
        "the plan made 2 runs for this suggestion, and nothing says which of them counts; give the agent run = "
    )
    assert len(one["run_uids"]) == 2
    assert served.get("agents/wordless/variables/seen")["value"] == 0


@pytest.mark.parametrize(
    "rule", ["last", {"purpose": "light"}, {"motors": ["x", "y"], "plan_args": {"per_step": "None"}}], ids=str
)
def test_the_run_that_counts(served, rule):
    name = f"chooser-{abs(hash(str(rule)))}"
    for one in measure(served, name, run=rule):
        assert one["outcome"] == {"signal": light(one)}
        assert one["run_uid"] == one["run_uids"][1]


@pytest.mark.parametrize("rule", ["first", {"purpose": "dark"}], ids=str)
def test_the_other_one(served, rule):
    for one in measure(served, f"other-{abs(hash(str(rule)))}", run=rule):
        assert one["outcome"]["signal"] < -60
        assert one["run_uid"] == one["run_uids"][0]


def test_no_run_with_that_metadata(served):
    [one] = measure(served, "mismatched", run={"purpose": "white"})
    assert (one["state"], one["reason"]) == ("failed", "none of the plan's 2 runs has purpose = 'white'")


def test_several_runs_with_that_metadata(served):
    [one] = measure(served, "ambiguous", plan="twice", run={"plan_name": "list_scan"})
    assert one["state"] == "failed"
    assert "2 of the plan's 2 runs have plan_name = 'list_scan', and one is to count" in one["reason"]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_function_of_runs_gets_all(served, executor):
    for one in measure(
        served, f"all-{executor}", evaluate="brainbox:difference", executor=executor, loop={"max_runs": 2}
    ):
        assert one["outcome"]["n"] == 2
        assert one["outcome"]["signal"] > 50
    [agent] = [one for one in served.get("agents")["items"] if one["name"] == f"all-{executor}"]
    assert agent["counts"]["ingested"] == 2


def test_a_function_of_runs_gets_those_that_the_rule_leaves(served):
    for one in measure(served, "narrowed", evaluate="brainbox:difference", run={"purpose": "light"}):
        assert one["outcome"] == {"signal": 0, "n": 1}


@pytest.mark.parametrize(("rule", "state"), [(None, "failed"), ("first", "failed"), ("last", "ingested")])
def test_a_run_that_failed_before_another_one(served, rule, state):
    one = measure(served, f"repeats-{rule}", plan="repeats", run=rule)[0]
    assert one["state"] == state
    if state == "ingested":
        assert one["outcome"] == {"signal": light(one)}
    if rule == "first":
        assert one["reason"] == "no beam"


def test_metadata_finds_the_one_that_did_not_fail(served):
    for one in measure(served, "repeats-match", plan="repeats", run={"purpose": "light"}):
        assert one["outcome"] == {"signal": light(one)}


def test_runs_within_each_other(served):
    [one] = measure(served, "nested", plan="braided")
    assert one["state"] == "failed"
    assert "made 2 runs" in one["reason"]
    for number, rule in enumerate(["first", "last"]):
        one = measure(served, f"nested-{rule}", plan="braided", run=rule)[0]
        assert one["run_uid"] == one["run_uids"][number]
        assert one["outcome"]["signal"] == pytest.approx([1 - 16 - 0.25, 1 - 1 - 0.25][number])


def test_a_plan_of_one_run_needs_no_word(served):
    for rule in (None, "first", "last", {"plan_name": "acquire"}):
        for one in measure(served, f"single-{abs(hash(str(rule)))}", plan="acquire", run=rule):
            assert one["outcome"] == {"signal": light(one)}


def test_a_passive_agent_hears_only_the_runs_it_wants(served):
    served.create("passive", type="brainbox:Listener", actuators=[], sensors=[], listen="all", run={"purpose": "light"})
    served.post("agents/passive/start")
    told = measure(served, "active", run={"purpose": "light"})
    points = wait_until(lambda: len(found := served.post("agents/passive/report")["report"]["points"]) >= 2 and found)
    assert [one["signal"] for one in points] == [one["outcome"]["signal"] for one in told]


@pytest.mark.parametrize("rule", ["latest", {}, 3, ["last"]])
def test_a_rule_that_is_none(served, rule):
    spec = {"name": "wrong", "type": "brainbox:Walker", "actuators": ["x", "y"], "outcome": "signal", "run": rule}
    problem = served.problem("POST", "agents", 422, "invalid_input", json=spec)
    assert 'run is "first", "last", or metadata of the run that counts' in problem["detail"]


@pytest.fixture
def gate():
    rig.measuring.clear()
    rig.gate.clear()
    yield rig
    rig.gate.set()


def test_an_abort_between_the_runs(start, gate):
    served = start()
    served.create("aborted", plan="pauses_between", run="last")
    served.post("agents/aborted/start")
    assert gate.measuring.wait(20)
    served.post("queue/abort", {"reason": "smoke"})
    [one] = wait_until(lambda: served.suggestions("aborted", state="failed"))
    assert one["reason"] == "smoke"
    assert one["outcome"] is None


# claims ---------------------------------------------------------------------------------------------------------------


def a_run(claim, uid, signal, **md):
    """A run of one event for a claim, as a RunEngine would emit it."""
    data = {**claim["point"], "signal": signal}
    keys = {key: {"source": "sim", "dtype": "number", "shape": []} for key in data}
    event = {
        "uid": f"{uid}-e",
        "descriptor": f"{uid}-d",
        "seq_num": 1,
        "data": data,
        "timestamps": dict.fromkeys(data, 1.0),
    }
    return [
        ("start", {"uid": uid, "time": 1.0, **claim["md"], **md}),
        ("descriptor", {"uid": f"{uid}-d", "time": 1.0, "run_start": uid, "name": "primary", "data_keys": keys}),
        ("event", {"time": 1.0, **event}),
        ("stop", {"uid": f"{uid}-s", "time": 1.0, "run_start": uid, "exit_status": "success"}),
    ]


def claimed(served, name, says_done, **spec):
    served.create(name, **{"loop": {"max_runs": 1, "max_failures": 1}, **spec})
    served.post(f"agents/{name}/start")
    return served.post("suggestions/claim", {"agent": name, "wait_s": 10, "says_done": says_done})


def fate(served, claim):
    return wait_until(
        lambda: (
            (one := served.get(f"suggestions/{claim['id']}"))["state"] not in ("submitted", "running", "measured")
            and one
        )
    )


@pytest.fixture
def desk(start):
    """A service whose suggestions are claimed over HTTP."""
    served = start(sink={"kind": "claim"}, source={"kind": "none"})
    served.post("documents", {"documents": a_run({"point": {}, "md": {}}, "r0", 0.0)})  # the first takes its time
    return served


@pytest.mark.parametrize(
    ("rule", "state", "signal"),
    [
        (None, "failed", None),
        ("last", "ingested", 7.0),
        ("first", "ingested", 0.5),
        ({"purpose": "light"}, "ingested", 7.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("word", ["after", "before"])
def test_a_claim_whose_holder_says_when_the_plan_has_ended(desk, rule, state, signal, word):
    claim = claimed(desk, "claimed", says_done=True, run=rule)
    dark, light = a_run(claim, "dark", 0.5, purpose="dark"), a_run(claim, "light", 7.0, purpose="light")
    desk.post("documents", {"documents": dark})
    wait_until(lambda: desk.get(f"suggestions/{claim['id']}")["run_uid"] == "dark")
    if word == "before":  # the word may overtake the documents
        desk.post(f"suggestions/{claim['id']}/release", {"how": "done", "runs": 2})
    desk.post("documents", {"documents": light})
    if word == "after":
        desk.post(f"suggestions/{claim['id']}/release", {"how": "done", "runs": 2})
    one = fate(desk, claim)
    assert (one["state"], one["run_uids"]) == (state, ["dark", "light"])
    assert one["outcome"] == (None if signal is None else {"signal": signal})


def test_a_claim_of_one_run_whose_holder_says_that_it_is_done(desk):
    claim = claimed(desk, "claimed", says_done=True)
    desk.post("documents", {"documents": a_run(claim, "r1", 0.5)})
    desk.post(f"suggestions/{claim['id']}/release", {"how": "done"})
    assert fate(desk, claim)["outcome"] == {"signal": 0.5}


def test_a_plan_that_is_done_without_a_run(desk):
    claim = claimed(desk, "claimed", says_done=True)
    desk.post(f"suggestions/{claim['id']}/release", {"how": "done", "runs": 0})
    one = fate(desk, claim)
    assert (one["state"], one["reason"]) == ("failed", "the plan made no run")


def test_a_claim_that_runs_out_between_the_runs(desk):
    """Its holder is gone: the dark run is not told as the last one."""
    served = desk
    served.create("claimed", run="last", loop={"max_runs": 1})
    served.post("agents/claimed/start")
    claim = served.post("suggestions/claim", {"agent": "claimed", "wait_s": 10, "says_done": True, "lease_s": 1.0})
    served.post("documents", {"documents": a_run(claim, "dark", 0.5)})
    one = fate(served, claim)
    assert one["state"] == "expired"
    assert "nobody said within 1 s that its plan has ended" in one["reason"]


def test_metadata_ends_a_claim_whose_holder_says_nothing(desk):
    claim = claimed(desk, "claimed", says_done=False, run={"purpose": "light"})
    for uid, signal in (("dark", 0.5), ("light", 7.0)):
        desk.post("documents", {"documents": a_run(claim, uid, signal, purpose=uid)})
    assert fate(desk, claim)["outcome"] == {"signal": 7.0}


def test_a_second_run_that_comes_late_is_not_told(desk):
    desk.create("claimed", loop={"max_runs": 1})
    desk.post("agents/claimed/start")
    claim = desk.post("suggestions/claim", {"agent": "claimed", "wait_s": 10, "says_done": True, "lease_s": 1.0})
    desk.post("documents", {"documents": a_run(claim, "r1", 0.5)})
    wait_until(lambda: fate(desk, claim)["state"] == "ingested", what="the run that was whole when the claim ran out")
    desk.post("documents", {"documents": a_run(claim, "r2", 7.0)})
    later = claimed(desk, "later", says_done=False)
    desk.post("documents", {"documents": a_run(later, "r3", 1.0)})
    assert fate(desk, later)["state"] == "ingested"  # what came before it was heard
    one = fate(desk, claim)
    assert (one["state"], one["run_uid"], one["outcome"]) == ("ingested", "r1", {"signal": 0.5})
