"""Points that somebody proposes: they wait for a person, whatever the agent needs, and the brain hears of them."""

import pytest
from services import keys_by_scope, running, wait_until

from agent_service.agents.decisions import MOST_PROPOSED
from agent_service.client import Client
from agent_service.errors import Forbidden, InvalidPoint, OutOfBounds
from agent_service.service.keys import KeyFile

WHY = "a flank that it left out"
POINT = {"x": 0.5, "y": -0.5}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    keys = keys_by_scope(state)
    colleague = KeyFile(state / "keys.jsonl").create("colleague", ["propose", "read"])[1]
    with running(state) as one:
        one.keys, one.colleague = keys, colleague
        yield one


@pytest.fixture
def colleague(served):
    with Client(served.url, api_key=served.colleague) as client:
        yield client


def test_it_waits_for_a_person_where_the_agent_needs_none(served, colleague):
    served.create("automatic", loop={"max_runs": 3})
    proposed = colleague.propose("automatic", POINT, WHY)
    assert (proposed.state, proposed.point, proposed.proposed_by) == ("proposed", POINT, "colleague")
    assert proposed.remarks == [f"proposed by colleague: {WHY}"]
    served.post("agents/automatic/start")
    served.until("automatic", "stopped")
    assert served.status("automatic")["progress"]["done"] == 3
    assert served.get(f"suggestions/{proposed.id}")["state"] == "proposed"
    assert served.status("automatic")["to_approve"] == 1
    with pytest.raises(Forbidden, match="approve"):
        colleague.approve(proposed.id)


def test_after_approval_it_is_measured_and_the_brain_is_told(served, colleague):
    served.create("told", loop={"approval": "required"})
    proposed = colleague.propose("told", POINT, WHY)
    served.post("agents/told/start")
    wait_until(lambda: len(served.suggestions("told", state="proposed")) == 2, what="the agent's own beside it")
    approved = served.post(f"suggestions/{proposed.id}/approve")
    assert (approved["point"], approved["reason"]) == (POINT, None)
    wait_until(lambda: served.get(f"suggestions/{proposed.id}")["state"] == "ingested")
    assert served.get(f"suggestions/{proposed.id}")["proposed_by"] == "colleague"
    assert served.post("agents/told/report")["report"] == {"n": 1, "ids": [None], "failed": 0}
    said = [
        fact["data"].get("by") for fact in served.get("agents/told/history")["items"] if fact["data"].get("by_hand")
    ]
    assert said == ["colleague"]


def test_an_edited_proposal_is_measured_as_edited(served, colleague):
    served.create("changed", loop={"approval": "required", "max_runs": 1})
    proposed = colleague.propose("changed", POINT, WHY)
    edited = served.post(f"suggestions/{proposed.id}/approve", {"point": {"x": 1.0, "y": 0.0}})
    assert (edited["point"], edited["reason"]) == ({"x": 1.0, "y": 0.0}, "edited by a person")
    served.post("agents/changed/start")
    served.until("changed", "stopped")
    assert served.get(f"suggestions/{proposed.id}")["outcome"]["signal"] == pytest.approx(0.75)


def test_what_was_suggested_is_known_beside_what_was_approved_and_who_rejected(served):
    served.create("traced", loop={"approval": "required"})
    served.post("agents/traced/start")
    [one] = wait_until(lambda: served.suggestions("traced", state="proposed"), what="a suggestion")
    served.post(f"suggestions/{one['id']}/approve", {"point": {"x": 1.0, "y": 0.0}})
    wait_until(lambda: served.get(f"suggestions/{one['id']}")["state"] == "ingested", what="its run")
    edited = served.get(f"suggestions/{one['id']}")
    assert (edited["point"], edited["suggested_point"]) == ({"x": 1.0, "y": 0.0}, one["point"])
    assert (edited["approved_by"], edited["rejected_by"]) == ("owner", None)
    [other] = wait_until(lambda: served.suggestions("traced", state="proposed"), what="a suggestion")
    rejected = served.post(f"suggestions/{other['id']}/reject", {})
    assert (rejected["rejected_by"], rejected["suggested_point"]) == ("owner", None)


def test_what_does_not_fit_or_is_forbidden_is_refused_at_once(served, colleague):
    served.create("strict", guardrails={"bounds": {"x": [-1, 1]}}, space={"y": [-2, 2]})
    for point, error, words in (
        ({"x": 5, "y": 0}, OutOfBounds, r"guardrails.bounds.x: x = 5 is outside \[-1, 1\]"),
        ({"x": 0, "y": 7}, InvalidPoint, "point.y"),
        ({"x": 0}, InvalidPoint, "point.y is missing"),
        ({"x": 0, "y": 0, "z": 1}, InvalidPoint, "point.z does not belong to this agent"),
    ):
        with pytest.raises(error, match=words):
            colleague.propose("strict", point, WHY)
    assert served.suggestions("strict") == []
    served.problem("POST", "agents/nobody/suggestions", 404, "not_found", json={"point": POINT, "reason": WHY})
    for body in ({"point": POINT}, {"point": POINT, "reason": ""}):
        served.problem("POST", "agents/strict/suggestions", 422, "invalid_input", json=body)


def test_what_the_scope_does_not_hold_is_refused(served):
    served.create("guarded")
    for scope, key in served.keys.items():
        headers = {"Authorization": f"Apikey {key}"}
        answer = served.http.post(
            "/api/v1/agents/guarded/suggestions", json={"point": POINT, "reason": WHY}, headers=headers
        )
        assert answer.status_code == (201 if scope == "propose" else 403), scope
    headers = {"Authorization": f"Apikey {served.keys['propose']}"}
    [waiting] = served.suggestions("guarded")
    for method, path in (
        ("POST", f"suggestions/{waiting['id']}/approve"),
        ("POST", f"suggestions/{waiting['id']}/reject"),
        ("POST", "agents/guarded/suggest"),
        ("POST", "agents/guarded/start"),
        ("POST", "queue/abort"),
        ("GET", "suggestions"),
    ):
        assert served.http.request(method, f"/api/v1/{path}", headers=headers).status_code == 403, path


def test_nobody_fills_the_inbox_of_the_others(served, colleague):
    served.create("full")
    for _ in range(MOST_PROPOSED):
        colleague.propose("full", POINT, WHY)
    found = served.http.post(
        "/api/v1/agents/full/suggestions",
        json={"point": POINT, "reason": WHY},
        headers={"Authorization": f"Apikey {served.colleague}"},
    )
    assert (found.status_code, "points of colleague wait" in found.json()["detail"]) == (409, True)
    assert served.post("agents/full/suggestions", {"point": POINT, "reason": WHY})["proposed_by"] == "owner"


def test_it_is_proposed_once_however_often_it_is_sent(served):
    served.create("once")
    headers = {"Idempotency-Key": "the-same"}
    answers = [
        served.http.post("/api/v1/agents/once/suggestions", json={"point": POINT, "reason": WHY}, headers=headers)
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(served.suggestions("once")) == 1


def test_it_is_still_somebodys_after_a_restart(tmp_path):
    with running(tmp_path) as service:
        service.create("kept", loop={"approval": "required", "max_runs": 1})
        first = service.post("agents/kept/suggestions", {"point": POINT, "reason": WHY})
        second = service.post("agents/kept/suggestions", {"point": {"x": 0.0, "y": 0.0}, "reason": WHY})
        service.post(f"suggestions/{first['id']}/approve")
    with running(tmp_path) as service:
        service.post("agents/kept/start")
        service.until("kept", "stopped")
        assert service.get(f"suggestions/{first['id']}")["state"] == "ingested"
        waiting = service.get(f"suggestions/{second['id']}")
        assert (waiting["state"], waiting["proposed_by"], waiting["extra"]) == ("proposed", "owner", {"_reason": WHY})
