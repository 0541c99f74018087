"""Documents over HTTP, and agents that listen to every run."""

import pytest
from event_model import compose_run
from services import wait_until


def run_documents(x=1.0, y=0.0, signal=0.5, **md):
    """A complete one-point run, as documents."""
    keys = {name: {"dtype": "number", "shape": [], "source": "test"} for name in ("x", "y", "signal")}
    run = compose_run(metadata=md)
    descriptor = run.compose_descriptor(name="primary", data_keys=keys)
    data = {"x": x, "y": y, "signal": signal}
    event = descriptor.compose_event(data=data, timestamps=dict.fromkeys(data, 1.0))
    stop = run.compose_stop()
    return [
        ["start", run.start_doc],
        ["descriptor", descriptor.descriptor_doc],
        ["event", event],
        ["stop", stop],
    ]


@pytest.fixture
def listener(served, request):
    name = request.node.name.removeprefix("test_")[:60]
    served.create(name, type="brainbox:Listener", listen="all")
    served.post(f"agents/{name}/start")
    return name


def seen(served, name):
    return served.post(f"agents/{name}/report")["report"]["points"]


def test_a_passive_agent_sees_every_run(served, listener):
    answer = served.http.post("/api/v1/documents", json={"documents": run_documents(2.0, 3.0, 0.25)})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 4})
    wait_until(lambda: seen(served, listener))
    assert seen(served, listener) == [{"x": 2.0, "y": 3.0, "signal": 0.25}]
    assert served.status(listener)["state"] == "running"


def test_a_passive_agent_sees_the_runs_of_others(served, listener):
    served.create("neighbour", loop={"max_runs": 2})
    served.post("agents/neighbour/start")
    served.until("neighbour", "stopped")
    wait_until(lambda: len(seen(served, listener)) == 2)
    assert [point["x"] for point in seen(served, listener)] == [0, 1]


def test_a_run_is_taken_once(served, listener):
    body = {"documents": run_documents()}
    served.post("documents", body)
    served.post("documents", body)
    served.post("documents", {"documents": run_documents(5.0)})
    wait_until(lambda: [point["x"] for point in seen(served, listener)] == [1.0, 5.0])


def test_a_run_without_the_outcome_is_passed_over(served, listener):
    documents = run_documents()
    documents[1][1]["data_keys"].pop("signal")
    documents[2][1]["data"].pop("signal")
    served.post("documents", {"documents": documents})
    served.post("documents", {"documents": run_documents(7.0)})
    wait_until(lambda: [point["x"] for point in seen(served, listener)] == [7.0])
    assert served.status(listener)["state"] == "running"


def test_another_agent_that_listens_to_its_own_ignores_them(served):
    served.create("own", loop={"approval": "required"})
    served.post("agents/own/start")
    served.post("documents", {"documents": run_documents()})
    served.post("documents", {"documents": run_documents(agent_suggestion_uid="somebody's")})
    served.create("witness", type="brainbox:Listener", listen="all")
    served.post("agents/witness/start")
    served.post("documents", {"documents": run_documents(9.0)})
    wait_until(lambda: seen(served, "witness"))
    assert served.get("agents/own/variables/seen")["value"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"documents": []},
        {"documents": [["start"]]},
        {"documents": [["begin", {}]]},
        {"documents": [["start", {"time": 1}]]},
        {"documents": [["event", {"uid": "a"}]]},
        {"documents": "start"},
        {},
    ],
)
def test_what_are_no_documents(served, body):
    found = served.problem("POST", "documents", 422, "invalid_input", json=body)
    assert found["errors"]
