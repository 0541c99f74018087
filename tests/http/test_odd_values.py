"""What a brain says of itself and JSON cannot hold is refused in a line, wherever it says it, and ends nothing."""

import pytest
from services import wait_until

ODD = {
    "circle": "is the dict that it is in: it holds itself",
    "deep": "nested deeper than 64 levels",
    "large": "is too large, with more than 1,000,000 values",
    "huge": "larger than a number may be",
}


@pytest.fixture(scope="module", params=["thread", "process"])
def odd(request, served):
    """The name of an agent that waits, with something measured."""
    name = f"odd-{request.param}"
    served.create(name, type="brainbox:Circular", executor=request.param, loop={"max_runs": 2, "report_every": 1})
    served.post(f"agents/{name}/start")
    done = served.until(name, "stopped", "failed")
    assert (done["state"], done["counts"]["ingested"]) == ("stopped", 2), done["reason"]
    served.http.patch(f"/api/v1/agents/{name}", json={"loop": {"max_runs": 9, "approval": "required"}})
    served.post(f"agents/{name}/start?paused=true")
    yield name
    assert served.status(name)["state"] == "paused", "it went on through all of it"
    served.post(f"agents/{name}/stop")


@pytest.mark.parametrize("kind", ODD)
def test_it_is_refused_in_one_line_and_the_agent_goes_on(served, odd, kind):
    assert served.http.put(f"/api/v1/agents/{odd}/variables/odd", json={"value": kind}).status_code == 200
    shown = served.get(f"agents/{odd}/variables/shown")
    assert shown["value"] is None
    assert ODD[kind] in shown["problem"]
    assert shown["problem"].startswith("shown")
    found = served.problem("POST", f"agents/{odd}/report", 502, "agent_fault")
    assert ODD[kind] in found["detail"]
    assert "report" in found["detail"]
    found = served.problem("POST", f"agents/{odd}/methods/tell", 502, "agent_fault")
    assert found["detail"].startswith("tell returned what cannot be told: the result")
    assert ODD[kind] in found["detail"]
    assert served.get(f"agents/{odd}/best", fresh=True)["items"]
    assert served.status(odd)["state"] == "paused"


def test_what_is_fine_arrives(served, odd):
    served.http.put(f"/api/v1/agents/{odd}/variables/odd", json={"value": "fine"})
    shown = served.get(f"agents/{odd}/variables/shown")
    assert (shown["value"], shown["problem"]) == (0.5, None)
    assert served.post(f"agents/{odd}/report")["report"]["odd"] == 0.5
    assert served.post(f"agents/{odd}/methods/tell") == {"result": 0.5}


def test_a_report_that_is_no_mapping_is_said_to_who_asked(served, odd):
    served.http.put(f"/api/v1/agents/{odd}/variables/odd", json={"value": "no mapping"})
    found = served.problem("POST", f"agents/{odd}/report", 502, "agent_fault")
    assert "report returned a list; let it return a dictionary" in found["detail"]
    assert served.status(odd)["state"] == "paused"


def test_the_loop_says_that_it_had_no_report(start):
    service = start()
    service.create("one", type="brainbox:Circular", executor="thread", loop={"max_runs": 2, "report_every": 1})
    with service.http.stream("GET", "/api/v1/events?kind=log&kind=agent.state") as events:
        service.post("agents/one/start")
        lines = iter(events.iter_lines())
        assert any("its report cannot be told: report.odd" in line for line in lines)
    wait_until(lambda: service.status("one")["state"] == "stopped")
