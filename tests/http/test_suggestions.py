"""Suggestions over HTTP: by hand, approved, edited, rejected; and the guardrails."""

import pytest
from services import wait_until

from agent_service.models import AgentStatus


@pytest.fixture
def paused(served, request):
    """An agent of its own, started and paused, that measures nothing by itself."""
    name = request.node.name.removeprefix("test_")[:60]
    served.create(name, loop={"approval": "required"})
    served.post(f"agents/{name}/start")
    wait_until(lambda: served.suggestions(name, state="proposed"))
    served.post(f"agents/{name}/pause")
    return name


def test_suggest_by_hand_leaves_proposed(served, paused):
    answer = served.post(f"agents/{paused}/suggest", {"n_points": 2})
    assert [one["state"] for one in answer["suggestions"]] == ["proposed", "proposed"]
    served.post(f"agents/{paused}/resume")
    served.post(f"agents/{paused}/pause")
    assert {one["state"] for one in served.suggestions(paused)} == {"proposed"}


def test_nothing_moves_before_approval(served):
    served.create("asking", loop={"approval": "required", "max_runs": 2})
    served.post("agents/asking/start")
    [first] = wait_until(lambda: served.suggestions("asking", state="proposed"))
    assert served.status("asking")["progress"]["done"] == 0
    assert first in served.get("suggestions", state="proposed")["items"]
    assert served.post(f"suggestions/{first['id']}/approve")["state"] == "approved"
    [second] = wait_until(lambda: served.suggestions("asking", state="proposed"))
    assert served.get(f"suggestions/{first['id']}")["state"] == "ingested"
    rejected = served.post(f"suggestions/{second['id']}/reject", {"reason": "too close"})
    assert (rejected["state"], rejected["reason"]) == ("rejected", "rejected by a person: too close")
    [third] = wait_until(lambda: served.suggestions("asking", state="proposed"))
    served.post(f"suggestions/{third['id']}/approve")
    served.until("asking", "stopped")
    assert served.status("asking")["counts"]["ingested"] == 2


def test_an_edited_point_is_what_is_measured(served):
    served.create("edited", loop={"approval": "required", "max_runs": 1})
    served.post("agents/edited/start")
    [one] = wait_until(lambda: served.suggestions("edited", state="proposed"))
    found = served.problem("POST", f"suggestions/{one['id']}/approve", 422, "invalid_point", json={"point": {"x": 1}})
    assert found["errors"] == [{"field": "point.y", "message": "is missing"}]
    served.problem("POST", f"suggestions/{one['id']}/approve", 422, "invalid_point", json={"point": {"z": 1}})
    approved = served.post(f"suggestions/{one['id']}/approve", {"point": {"x": 1.0, "y": -0.5}})
    assert approved["point"] == {"x": 1.0, "y": -0.5}
    served.until("edited", "stopped")
    measured = served.get(f"suggestions/{one['id']}")
    assert measured["outcome"]["signal"] == pytest.approx(1.0)
    # the brain did not suggest this point, so it is told without its id
    assert served.get("agents/edited/history")["items"][-4]["data"]["points"][0]["x"] == 1.0


def test_a_fate_is_decided_once(served, paused):
    [one] = served.suggestions(paused)
    served.post(f"suggestions/{one['id']}/reject")
    found = served.problem("POST", f"suggestions/{one['id']}/approve", 409, "illegal_transition")
    assert "rejected" in found["detail"]
    served.problem("POST", "suggestions/nobody/approve", 404, "not_found")


def test_what_is_in_the_queue_takes_no_word_any_more(served):
    served.create("queued", loop={"approval": "required", "max_runs": 1})
    served.post("queue/pause")
    served.post("agents/queued/start")
    [one] = wait_until(lambda: served.suggestions("queued", state="proposed"))
    served.post(f"suggestions/{one['id']}/approve")
    wait_until(lambda: served.suggestions("queued", state="submitted"))
    for word, body in (("approve", None), ("approve", {"point": {"x": 1.0, "y": 1.0}}), ("reject", None)):
        found = served.problem("POST", f"suggestions/{one['id']}/{word}", 409, "illegal_transition", json=body)
        assert "abort the queue" in found["detail"]
    served.post("queue/resume")
    served.until("queued", "stopped")
    fates = [fact["data"]["state"] for fact in served.get("agents/queued/history")["items"] if "id" in fact["data"]]
    assert fates.count("submitted") == 1
    assert served.suggestions("queued", state="ingested")[0]["point"] == one["point"]


def test_guardrails_reject_and_name_the_rule(served):
    served.create(
        "guarded",
        config={"step": 3.0, "limit": 4},
        guardrails={"bounds": {"x": [-4, 4]}},
        loop={"max_failures": 1},
    )
    served.post("agents/guarded/start")
    status = served.until("guarded", "stopped")
    assert [one["state"] for one in served.suggestions("guarded")] == ["ingested", "ingested", "rejected", "rejected"]
    rejected = served.suggestions("guarded", state="rejected")[0]
    assert rejected["reason"] == "guardrails.bounds.x: x = 6 is outside [-4, 4]"
    assert status["reason"] == "the agent has nothing more to suggest"  # the brain was told, and went on
    served.http.patch("/api/v1/agents/guarded", json={"guardrails": {"bounds": {}}, "loop": {"approval": "required"}})
    served.post("agents/guarded/start?paused=true")
    assert served.post("agents/guarded/report")["report"]["failed"] == 2


def test_a_brain_that_learns_nothing_from_rejections_stops(served):
    served.create("stubborn", guardrails={"bounds": {"x": [-4, -3]}})
    served.post("agents/stubborn/start")
    status = served.until("stubborn", "stopped")
    assert status["reason"].startswith("100 suggestions in a row were rejected; the last: guardrails.bounds.x")
    assert "bounds inside the guardrails" in status["reason"]


def test_guardrails_hold_for_edited_points_and_count_at_once(served):
    served.create("edges", loop={"approval": "required"})
    served.post("agents/edges/start")
    [one] = wait_until(lambda: served.suggestions("edges", state="proposed"))
    answer = served.http.patch("/api/v1/agents/edges", json={"guardrails": {"bounds": {"y": [-1, 1]}}})
    assert answer.status_code == 200
    found = served.problem(
        "POST", f"suggestions/{one['id']}/approve", 422, "out_of_bounds", json={"point": {"x": 0, "y": 2}}
    )
    assert found["errors"][0]["field"] == "guardrails.bounds.y"
    assert served.get(f"suggestions/{one['id']}")["state"] == "proposed"


def test_ingest_by_hand_with_an_id_closes_the_suggestion(served, paused):
    [one] = served.post(f"agents/{paused}/suggest", {})["suggestions"]
    answer = served.post(f"agents/{paused}/ingest", {"points": [{"_id": one["id"], "signal": 0.5}]})
    assert answer == {"ingested": 1}
    assert served.get(f"suggestions/{one['id']}")["state"] == "ingested"
    again = {"points": [{"_id": one["id"], "signal": 0.5}]}
    served.problem("POST", f"agents/{paused}/ingest", 409, "conflict", json=again)


def test_ingest_by_hand_without_an_id(served, paused):
    body = {"points": [{"x": 1.0, "y": 2.0, "signal": 3.0}, {"x": 0.0, "y": 0.0, "signal": -1.0}]}
    assert served.post(f"agents/{paused}/ingest", body) == {"ingested": 2}
    assert served.get(f"agents/{paused}/best")["items"][0]["outcome"] == {"signal": 3.0}
    assert served.get(f"agents/{paused}/variables/seen")["value"] == 2


def test_variables(served, paused):
    names = {one["name"]: one for one in served.get(f"agents/{paused}/variables")["items"]}
    assert (names["gain"]["value"], names["gain"]["writable"]) == (1.0, True)
    answer = served.http.put(f"/api/v1/agents/{paused}/variables/gain", json={"value": 2.5})
    assert answer.json()["value"] == 2.5
    assert served.get(f"agents/{paused}/variables/gain")["value"] == 2.5
    served.problem("PUT", f"agents/{paused}/variables/seen", 422, "invalid_input", json={"value": 1})
    served.problem("PUT", f"agents/{paused}/variables/nope", 404, "not_found", json={"value": 1})
    served.problem("GET", f"agents/{paused}/variables/nope", 404, "not_found")
    served.post(f"agents/{paused}/restart")
    wait_until(lambda: served.status(paused)["state"] == "running")
    assert served.get(f"agents/{paused}/variables/gain")["value"] == 2.5


def test_go_to_best_moves_and_obeys_the_guardrails(served):
    import rig

    served.create("best", loop={"max_runs": 3})
    served.problem("POST", "agents/best/go-to-best", 409, "conflict")
    served.post("agents/best/start")
    served.until("best", "stopped")
    answer = served.post("agents/best/go-to-best")
    assert answer["point"] == {"x": 1.0, "y": 0.0}
    assert rig.x.readback.get() == 1.0
    served.http.patch("/api/v1/agents/best", json={"guardrails": {"bounds": {"x": [2, 3]}}})
    served.problem("POST", "agents/best/go-to-best", 422, "out_of_bounds")


def test_pages_of_suggestions(served, paused):
    served.post(f"agents/{paused}/suggest", {"n_points": 4})
    first = served.get(f"agents/{paused}/suggestions", limit=3)
    rest = served.get(f"agents/{paused}/suggestions", limit=3, cursor=first["next"])
    assert len(first["items"]) == 3
    assert len(rest["items"]) == 2
    assert rest["next"] is None
    served.problem("GET", f"agents/{paused}/suggestions", 422, "invalid_input", params={"cursor": "x"})


def test_the_status_says_how_many_wait_for_a_person(start):
    service = start()
    service.create("asks", loop={"approval": "required"})
    service.create("moves", loop={"max_runs": 1})
    service.post("agents/asks/start")
    wait_until(lambda: service.status("asks")["to_approve"] == 1)
    service.post("agents/moves/start?paused=true")
    service.post("agents/moves/suggest", {"n_points": 2})
    assert service.status("moves")["to_approve"] == 2
    shown = AgentStatus.model_validate(service.status("asks"))
    assert "1 suggestion waits for approval" in shown.remarks
