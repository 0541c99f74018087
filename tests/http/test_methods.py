"""Methods and variables of a brain over HTTP, and reads that ask it."""

import threading
from pathlib import Path

import pytest
from services import wait_until

from agent_service import Client
from agent_service.errors import AgentFault, InvalidInput, NotFound


@pytest.fixture(params=["thread", "process"])
def executor(request):
    return request.param


@pytest.fixture
def service(start, executor):
    return start()


@pytest.fixture
def client(service):
    with Client(service.url, api_key=service.server.api_key) as one:
        yield one


@pytest.fixture
def gate(tmp_path):
    one = tmp_path / "gate"
    yield one
    one.touch()


@pytest.fixture
def patient(service, gate, executor):
    config = {"gate": str(gate), "where": "ponder"}
    service.create("patient", type="brainbox:Patient", config=config, executor=executor)
    service.post("agents/patient/start?paused=true")
    return "patient"


@pytest.fixture
def pondering(service, patient, gate):
    """The agent is busy until the test opens the gate."""
    answer = service.http.post("/api/v1/agents/patient/methods/ponder", headers={"Prefer": "wait=0"})
    assert answer.status_code == 202
    wait_until(Path(f"{gate}.waits").exists)
    return answer.json()["id"]


# --- methods


def test_methods_are_listed_with_their_schema(service, patient, client):
    found = {one.name: one for one in client.methods(patient)}
    assert list(found) == ["add", "burst", "draw", "nudge", "ponder", "shift"]
    assert found["add"].doc == "Add two numbers."
    assert found["add"].parameters["required"] == ["a"]
    assert found["add"].parameters["properties"]["b"] == {"title": "b", "type": "number", "default": 1.0}
    assert {name for name, one in found.items() if one.replay} == {"shift"}
    service.create("idle")
    assert client.methods("idle") == []


def test_a_method_is_called(service, patient, client):
    assert service.post("agents/patient/methods/add", {"args": [1], "kwargs": {"b": 2}}) == {"result": 3}
    assert client.call(patient, "add", [1]) == 2
    assert client.call(patient, "nudge") is None
    told = [one["data"] for one in service.get("agents/patient/history")["items"] if one["kind"] == "method"]
    assert told[0] == {"method": "add", "args": [1], "kwargs": {"b": 2}, "replay": False, "by": "owner"}
    assert [one["method"] for one in told] == ["add", "add", "nudge"]


def test_an_unknown_method_is_404_and_says_which_there_are(service, patient, client):
    found = service.problem("POST", "agents/patient/methods/ad", 404, "not_found")
    assert "did you mean 'add'? it has add, burst, draw, nudge, ponder, shift" in found["detail"]
    for hidden in ("secret", "suggest", "_wait", "__init__", "gain"):
        with pytest.raises(NotFound):
            client.call(patient, hidden)


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"args": ["much"]}, "args.0", "must be a number"),
        ({"kwargs": {"a": "much"}}, "kwargs.a", "must be a number"),
        ({}, "kwargs", "missing a required argument: 'a'"),
        ({"args": [1, 2, 3]}, "kwargs", "too many positional arguments"),
        ({"args": [1], "kwargs": {"c": 1}}, "kwargs", "unexpected keyword argument 'c'"),
        ({"arg": [1]}, "arg", "not a known key"),
    ],
)
def test_wrong_arguments_are_422_and_the_agent_goes_on(service, patient, body, field, said):
    found = service.problem("POST", "agents/patient/methods/add", 422, "invalid_input", json=body)
    assert field in [one["field"] for one in found["errors"]]
    assert said in found["detail"]
    assert service.status("patient")["state"] == "paused"


def test_a_method_that_raises_is_502_and_the_agent_goes_on(service, patient, client):
    with pytest.raises(AgentFault, match="burst raised RuntimeError: out of film") as caught:
        client.call(patient, "burst")
    assert "in burst" in caught.value.traceback
    assert "agent_service" not in caught.value.traceback
    assert service.status("patient")["state"] == "paused"
    assert not [one for one in service.get("agents/patient/history")["items"] if one["kind"] == "method"]


def test_a_result_that_json_cannot_hold_is_a_clear_problem(service, patient):
    found = service.problem("POST", "agents/patient/methods/draw", 502, "agent_fault")
    assert "the result.figure is a object, which JSON cannot hold" in found["detail"]
    assert service.status("patient")["state"] == "paused"


def test_a_method_past_its_deadline_is_504_and_the_end_of_the_brain(service, gate, executor):
    config = {"gate": str(gate), "where": "ponder"}
    service.create("late", type="brainbox:Patient", config=config, executor=executor, timeouts={"method": 0.1})
    service.post("agents/late/start?paused=true")
    service.problem("POST", "agents/late/methods/ponder", 504, "deadline_exceeded")
    assert service.until("late", "failed")["last_error"]["code"] == "deadline_exceeded"


def test_a_method_needs_a_brain(service, patient):
    service.create("idle")
    found = service.problem("POST", "agents/idle/methods/add", 409, "illegal_transition")
    assert "start" in found["legal"]


def test_replayed_methods_and_variables_are_there_after_a_restart_and_others_are_not(start, tmp_path, executor):
    first = start(tmp_path / "one")
    gate = tmp_path / "open"
    gate.touch()
    first.create("patient", type="brainbox:Patient", config={"gate": str(gate)}, executor=executor)
    first.post("agents/patient/start?paused=true")
    for by in (1, 20):
        first.post("agents/patient/methods/shift", {"kwargs": {"by": by}})
    first.post("agents/patient/methods/nudge")
    assert first.http.put("/api/v1/agents/patient/variables/gain", json={"value": 3}).status_code == 200
    assert first.post("agents/patient/report")["report"]["offset"] == 1021
    first.post("agents/patient/restart")
    assert first.post("agents/patient/report")["report"]["offset"] == 21
    first.close()
    second = start(tmp_path / "one")
    second.until("patient", "running", "paused")
    assert second.post("agents/patient/report")["report"]["offset"] == 21
    assert second.get("agents/patient/variables/gain")["value"] == 3


# --- reads


def test_reads_are_answered_from_memory_while_the_brain_is_busy(service, patient, pondering):
    variables = {one["name"]: one["value"] for one in service.get("agents/patient/variables")["items"]}
    assert variables["gain"] == 1
    assert service.get("agents/patient/variables/gain")["value"] == 1
    assert service.get("agents/patient/best")["items"] == []
    assert "add" in [one["name"] for one in service.get("agents/patient/methods")["items"]]
    assert service.status("patient")["busy"]["call"] == "call_method"


def test_a_fresh_read_asks_the_brain(service, patient, client):
    first = client.variable(patient, "clock").value
    assert client.variable(patient, "clock").value == first
    assert client.variable(patient, "clock", fresh=True).value == first + 1
    assert {one.name: one.value for one in client.variables(patient, fresh=True)}["clock"] == first + 2
    assert client.variable(patient, "clock").value == first + 2
    assert client.best(patient, fresh=True) == []
    service.post("agents/patient/ingest", {"points": [{"x": 1, "y": 0, "signal": 4}]})
    [best] = client.best(patient, fresh=True)
    assert best.outcome == {"signal": 4}
    assert client.best(patient) == [best]


def test_a_fresh_read_of_a_busy_agent_waits_no_longer_than_told(service, patient, pondering, gate):
    found = service.problem(
        "GET", "agents/patient/variables", 504, "deadline_exceeded", params={"fresh": True, "timeout_s": 0.05}
    )
    assert "leave fresh out" in found["detail"]
    service.problem("GET", "agents/patient/best?fresh=1&timeout_s=0.05", 504, "deadline_exceeded")
    service.problem("GET", "agents/patient/variables/gain?fresh=1&timeout_s=0.05", 504, "deadline_exceeded")
    assert service.status("patient")["state"] == "paused"
    gate.touch()
    assert service.http.get(f"/api/v1/jobs/{pondering}", headers={"Prefer": "wait=20"}).json()["state"] == "succeeded"
    assert service.get("agents/patient/variables/gain", fresh=True)["value"] == 1


def test_a_fresh_read_whose_turn_has_come_goes_on_without_its_reader(start, gate, executor):
    """Else a reader without patience could end a brain."""
    service = start()
    service.create("slow", type="brainbox:SlowToShow", config={"gate": str(gate)}, executor=executor)
    service.post("agents/slow/start?paused=true")
    service.problem("GET", "agents/slow/variables?fresh=1&timeout_s=0.1", 504, "deadline_exceeded")
    wait_until(Path(f"{gate}.waits").exists)
    gate.touch()
    wait_until(lambda: service.status("slow")["busy"] is None)
    assert service.status("slow")["state"] == "paused"
    assert service.get("agents/slow/variables/shown", fresh=True)["value"] >= 2


def test_a_fresh_read_needs_a_brain(service):
    service.create("idle")
    for path in ("variables", "variables/gain", "best"):
        found = service.problem("GET", f"agents/idle/{path}?fresh=true", 409, "illegal_transition")
        assert "start" in found["legal"]
    service.problem("GET", "agents/idle/variables?fresh=1&timeout_s=0", 422, "invalid_input")


# --- variables


def test_setting_a_variable_of_a_busy_agent_waits_its_turn(service, patient, pondering, gate, client):
    new = []
    asking = threading.Thread(target=lambda: new.append(client.set_variable(patient, "gain", 5)))
    asking.start()
    asking.join(0.2)
    assert client.variable(patient, "gain").value == 1
    gate.touch()
    asking.join(20)
    assert new[0].value == 5
    assert client.variable(patient, "gain").value == 5
    facts = [one["data"] for one in service.get("agents/patient/history")["items"] if one["kind"] == "config"]
    assert facts == [{"variable": "gain", "value": 5, "by": "owner"}]


def test_only_what_is_declared_and_writable_can_be_set(client, patient):
    with pytest.raises(NotFound, match="no variable 'offset'; it declares: clock, gain, seen"):
        client.set_variable(patient, "offset", 1)
    with pytest.raises(InvalidInput, match="read-only"):
        client.set_variable(patient, "seen", 1)
    with pytest.raises(InvalidInput, match="could not convert"):
        client.set_variable(patient, "gain", "much")
