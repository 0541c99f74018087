"""A brain without an opinion is noted and goes on; one without a point now is asked again when it was told more."""

import pytest
from services import wait_until

EXECUTORS = ["thread", "process"]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("kind", ["Unsure", "AwaitedUnsure"])
def test_what_it_cannot_say_is_a_note_and_no_end(served, kind, executor):
    name = f"{kind}-{executor}".lower()
    served.create(name, type=f"odd_brains:{kind}", executor=executor, loop={"max_runs": 3, "report_every": 1})
    served.post(f"agents/{name}/start")
    status = served.until(name, "stopped")
    assert status["reason"] == "max_runs reached (3 of 3)"
    assert status["note"] == (
        "its get_best_points raised AssertionError: no feasible point; its should_stop raised ValueError: no model yet"
    )
    assert status["last_error"] is None
    assert status["best"]["outcome"]["signal"] == pytest.approx(0.75)  # the service knows what was measured
    served.http.patch(f"/api/v1/agents/{name}", json={"loop": {"max_runs": 9}}).raise_for_status()
    served.post(f"agents/{name}/start?paused=true")
    found = served.problem("POST", f"agents/{name}/report", 502, "agent_fault")
    assert "its report raised KeyError: 'trial 3'" in found["detail"]
    assert served.status(name)["state"] == "paused"


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("kind", ["Generations", "AwaitedGenerations"])
def test_one_that_waits_is_asked_again_and_one_that_has_nothing_more_ends(served, kind, executor):
    name = f"{kind}-{executor}".lower()
    served.create(name, type=f"odd_brains:{kind}", executor=executor, loop={"approval": "required"})
    served.post(f"agents/{name}/start")
    [first] = wait_until(lambda: served.suggestions(name, state="proposed"))
    [second] = served.post(f"agents/{name}/suggest", {})["suggestions"]
    assert served.post(f"agents/{name}/suggest", {})["suggestions"] == []
    assert served.status(name)["suspended"] == "the agent waits: needs outcomes of 2 points"
    served.post(f"suggestions/{first['id']}/reject", {"reason": "no"})  # it hears of that, and is asked again
    [third] = wait_until(lambda: [s for s in served.suggestions(name, state="proposed") if s["point"]["x"] == 2])
    assert served.status(name)["suspended"] is None
    for suggestion in (second, third):
        served.post(f"suggestions/{suggestion['id']}/approve")
    for x in (3, 4, 5):
        [one] = wait_until(lambda x=x: [s for s in served.suggestions(name, state="proposed") if s["point"]["x"] == x])
        served.post(f"suggestions/{one['id']}/approve")
    status = served.until(name, "stopped")
    assert status["reason"] == "the agent has nothing more to suggest"
    assert status["counts"]["ingested"] == 5


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_loop_that_waits_goes_on_when_it_was_told(served, executor):
    name = f"patient-{executor}"
    served.create(name, type="odd_brains:Patient", executor=executor, loop={"max_runs": 2})
    served.post(f"agents/{name}/start")
    wait_until(lambda: served.status(name)["suspended"])
    assert served.status(name)["state"] == "running"
    assert served.status(name)["suspended"] == "the agent waits: wants a point of somebody's first"
    served.post(f"agents/{name}/ingest", {"points": [{"x": 0, "y": 0, "signal": 0}]})
    assert served.until(name, "stopped")["reason"] == "max_runs reached (2 of 2)"
