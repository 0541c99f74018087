"""Approvals: of the first so many, of what is far from what was measured, for a time, and of several in one press."""

import pytest
from services import running, wait_until

from agent_service.client import Client
from agent_service.errors import Conflict, InvalidInput, OutOfBounds
from agent_service.service.keys import KeyFile


@pytest.fixture
def client(served):
    with Client(served.url, api_key=served.server.api_key) as one:
        yield one


def waiting(served, name, *, number=1):
    def there():
        found = served.suggestions(name, state="proposed")
        return found if len(found) >= number else None

    return wait_until(there, within_s=60, what=f"{number} suggestions of {name} that wait")


def facts(served, name, state):
    every = served.get(f"agents/{name}/history", limit=1000)["items"]
    return [one["data"] for one in every if one["kind"] == "suggestion.state" and one["data"]["state"] == state]


def test_the_first_so_many_by_hand_and_then_by_itself(served):
    served.create("first", loop={"approval": "first 2", "max_runs": 5})
    served.post("agents/first/start")
    [one] = waiting(served, "first")
    assert served.status("first")["to_approve"] == 1
    served.post(f"suggestions/{one['id']}/reject")  # which is no approval
    for _ in range(2):
        [one] = waiting(served, "first")
        approved = served.post(f"suggestions/{one['id']}/approve")
        assert approved["approved_by"] == "owner"
        assert approved["approved_at"]
    served.until("first", "stopped", within_s=60)
    assert served.status("first")["progress"]["done"] == 5
    assert [fact.get("by") for fact in facts(served, "first", "approved")] == ["owner", "owner", None, None, None]


def test_it_is_counted_on_after_a_restart(tmp_path):
    with running(tmp_path) as service:
        service.create("counted", loop={"approval": "first 2", "max_runs": 3})
        service.post("agents/counted/start")
        [one] = waiting(service, "counted")
        service.post(f"suggestions/{one['id']}/approve")
        waiting(service, "counted")
    with running(tmp_path) as service:
        [one] = waiting(service, "counted")
        service.post(f"suggestions/{one['id']}/approve")
        service.until("counted", "stopped", within_s=60)
        assert service.status("counted")["progress"]["done"] == 3


def test_what_is_far_from_what_was_measured_waits_for_a_person(served):
    # the walker goes one step at a time: 1 is far from 0, until somebody has measured it
    served.create("near", loop={"approval_distance": {"x": 0.6}, "max_runs": 3}, config={"step": 1.0})
    served.post("agents/near/start")
    [first] = waiting(served, "near")
    assert (first["point"]["x"], served.status("near")["to_approve"]) == (0.0, 1)
    served.post(
        "agents/near/ingest", {"points": [{"x": 0.5, "y": 3.0, "signal": 1}, {"x": 1.5, "y": 3.0, "signal": 1}]}
    )
    served.until("near", "stopped", within_s=60)  # 0, 1 and 2 are within 0.6 of these by now
    assert all("by" not in fact for fact in facts(served, "near", "approved"))


def test_the_rule_of_distance_is_looked_at_in_each_actuator(served):
    served.create("far", loop={"approval_distance": {"x": 5, "y": 0.1}, "max_runs": 2})
    served.post("agents/far/start")
    [first] = waiting(served, "far")
    served.post("agents/far/ingest", {"points": [{"x": 0, "y": 0.2, "signal": 1}]})
    assert waiting(served, "far")[0]["state"] == "proposed"
    served.post(f"suggestions/{first['id']}/approve")
    served.until("far", "stopped", within_s=60)  # the second is near the first


def test_an_approval_expires_and_says_so(served):
    served.create("expiring", loop={"approval": "required", "approval_expires_s": 0.5, "max_runs": 1})
    served.post("agents/expiring/start")
    [one] = waiting(served, "expiring")
    served.post("agents/expiring/pause")
    served.post(f"suggestions/{one['id']}/approve")
    [again] = waiting(served, "expiring")
    assert (again["id"], again["point"], again["approved_by"]) == (one["id"], one["point"], None)
    assert again["reason"] == "the approval by owner expired after 0.5 s: approve it again"
    assert again["created_at"] == one["created_at"]
    served.post("agents/expiring/resume")
    assert served.status("expiring")["progress"]["done"] == 0
    served.http.patch("/api/v1/agents/expiring", json={"loop": {"approval_expires_s": 60}})
    served.post(f"suggestions/{one['id']}/approve")
    served.until("expiring", "stopped", within_s=60)


def test_what_waits_in_the_queue_when_its_approval_expires_is_taken_back(served):
    served.create("queued", loop={"approval": "required", "approval_expires_s": 5, "max_runs": 1})
    served.post("agents/queued/start")
    [one] = waiting(served, "queued")
    served.post("queue/pause")
    try:
        served.post(f"suggestions/{one['id']}/approve")
        wait_until(lambda: facts(served, "queued", "submitted"), within_s=60)
        assert waiting(served, "queued")[0]["id"] == one["id"]
    finally:
        served.post("queue/resume")
    assert served.status("queued")["progress"]["done"] == 0
    served.post("agents/queued/stop")


def test_an_approval_that_expired_is_one_after_a_restart(tmp_path):
    loop = {"approval": "required", "approval_expires_s": 0.01, "max_runs": 1}
    with running(tmp_path) as service:
        service.create("gone", loop=loop)
        service.post("agents/gone/start")
        [one] = waiting(service, "gone")
        service.post("agents/gone/stop")
        service.post(f"suggestions/{one['id']}/approve")
    with running(tmp_path) as service:
        assert service.get(f"suggestions/{one['id']}")["state"] == "approved"
        service.post("agents/gone/start")
        assert one["id"] in [each["id"] for each in waiting(service, "gone")]
    with running(tmp_path) as service:  # the journal with that in it is read, and the brain made of it
        assert service.get(f"suggestions/{one['id']}")["state"] == "proposed"
        assert len([each for each in service.suggestions("gone") if each["id"] == one["id"]]) == 1
        service.until("gone", "running", within_s=60)


def test_several_are_approved_in_one_press(served, client):
    served.create("batch", loop={"approval": "required", "n_points": 3, "max_runs": 3})
    served.post("agents/batch/start")
    waiting(served, "batch", number=3)
    seen = client.suggestions("batch", state="proposed")
    approved = client.approve_all(seen)
    assert [(one.id, one.point, one.approved_by) for one in approved] == [(one.id, one.point, "owner") for one in seen]
    served.until("batch", "stopped", within_s=60)
    assert served.status("batch")["counts"]["ingested"] == 3


def test_all_of_them_or_none(served, client):
    served.create("whole", loop={"approval": "required", "n_points": 3})
    served.create("other", loop={"approval": "required"})
    served.post("agents/whole/start")
    served.post("agents/other/start")
    waiting(served, "whole", number=3)
    waiting(served, "other")
    seen = client.suggestions("whole", state="proposed")
    served.post("agents/whole/pause")
    with pytest.raises(InvalidInput, match="several agents"):
        client.approve_all([*seen, *client.suggestions("other", state="proposed")])
    with pytest.raises(Conflict, match=f"{seen[1].id} is another point by now: x 1, y 0"):
        client.approve_all([seen[0], seen[1].model_copy(update={"point": {"x": 9.0, "y": 0.0}})])
    client.update("whole", guardrails={"bounds": {"x": [0, 1]}})
    with pytest.raises(OutOfBounds, match=f"{seen[2].id}: guardrails.bounds.x: x = 2 is outside"):
        client.approve_all(seen)
    client.update("whole", guardrails={"bounds": {}, "budget_runs": 2})
    with pytest.raises(OutOfBounds, match="budget"):
        client.approve_all(seen)
    assert {one["state"] for one in served.suggestions("whole")} == {"proposed"}
    client.reject(seen[0].id)
    with pytest.raises(Conflict, match="rejected"):
        client.approve_all(seen[:2])
    assert [one.state for one in client.approve_all(seen[1:])] == ["approved", "approved"]
    served.post("agents/whole/stop")
    served.post("agents/other/stop")


def test_to_ask_a_person_less_often_is_a_persons_word(tmp_path):
    tight = {"approval": "first 3", "approval_distance": {"x": 1}, "approval_expires_s": 10}
    key = KeyFile(tmp_path / "keys.jsonl").create("program", ["read", "control"])[1]
    with running(tmp_path) as service:
        service.create("held", loop=tight)
        for change, allowed in (
            ({"approval": "first 2"}, False),
            ({"approval": "auto"}, False),
            ({"approval": "required"}, True),
            ({"approval": "first 3"}, False),
            ({"approval_distance": {"x": 2}}, False),
            ({"approval_distance": None}, False),
            ({"approval_distance": {"x": 0.5, "y": 1}}, True),
            ({"approval_expires_s": None}, False),
            ({"approval_expires_s": 5}, True),
        ):
            headers = {"Authorization": f"Apikey {key}"}
            answer = service.http.patch("/api/v1/agents/held", json={"loop": change}, headers=headers)
            assert answer.status_code == (200 if allowed else 403), change


def test_what_is_written_wrongly_is_refused_in_words(served):
    body = {"name": "w", "type": "brainbox:Walker", "actuators": ["x"], "sensors": ["signal"], "outcome": "signal"}
    for loop, words in (
        ({"approval": "first"}, 'must be "auto", "required", or "first N", as "first 3"'),
        ({"approval": "first 0"}, "first N"),
        ({"approval_distance": {"x": -1}}, "approval_distance"),
        ({"approval_distance": {"z": 1}}, "loop.approval_distance names z, which is no actuator"),
        ({"approval_expires_s": 0}, "approval_expires_s"),
    ):
        found = served.problem("POST", "agents", 422, "invalid_input", json={**body, "loop": loop})
        assert words in found["detail"], found["detail"]
