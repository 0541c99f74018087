"""What was decided so long ago that it is in the journal only: shown, refused and counted as if it were in memory."""

import pytest
from services import running

from agent_service.agents.record import agent as agent_module, service as service_module

KEPT = 5
NUMBER = 4 * KEPT


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, running(tmp_path_factory.mktemp("state")) as one:
        patch.setattr(service_module, "DECIDED_KEPT", KEPT)
        patch.setattr(agent_module, "REPORTS_KEPT", KEPT)
        one.create("walker")
        one.post("agents/walker/start?paused=true")
        one.ids = []
        for n in range(NUMBER):
            [new] = one.post("agents/walker/suggest", {"n_points": 1})["suggestions"]
            one.post("agents/walker/ingest", {"points": [{"signal": -float(n), "_id": new["id"]}]})
            one.post("agents/walker/report")
            one.ids.append(new["id"])
        yield one


def test_each_is_shown_alone_and_in_pages(service):
    assert service.server.service.supervisor.find_owner(service.ids[1]) is None
    listed = []
    for path in ("suggestions", "agents/walker/suggestions"):
        page = service.get(path, state="ingested", limit=3)
        found = page["items"]
        while page["next"]:
            page = service.get(path, state="ingested", limit=3, cursor=page["next"])
            found += page["items"]
        assert [one["id"] for one in found] == service.ids
        listed = found
    assert service.get(f"suggestions/{service.ids[1]}") == listed[1]
    assert listed[1]["outcome"] == {"signal": -1.0}
    service.problem("GET", "suggestions/nobody", 404, "not_found")


def test_a_decision_on_it_is_refused_for_it_is_decided(service):
    for number, word in ((2, "approve"), (3, "reject")):
        found = service.problem("POST", f"suggestions/{service.ids[number]}/{word}", 409, "illegal_transition")
        assert "its fate is final" in found["detail"]
    told = {"points": [{"signal": 1.0, "_id": service.ids[4]}]}
    service.problem("POST", "agents/walker/ingest", 409, "conflict", json=told)


def test_reports_are_all_there_in_pages(service):
    first = service.get("agents/walker/reports", limit=NUMBER - 1)
    rest = service.get("agents/walker/reports", limit=NUMBER, cursor=first["next"])
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (NUMBER - 1, 1, None)
    assert len({one["seq"] for one in first["items"] + rest["items"]}) == NUMBER
