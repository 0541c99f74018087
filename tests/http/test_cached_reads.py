"""The reads that are answered with ready bytes, before FastAPI's routes: the same answers, and the same doors shut."""

import pytest
from services import paused_walker

from agent_service.service.keys import Scope

READS = ("agents/walker", "agents/walker/variables/gain")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with paused_walker(tmp_path_factory.mktemp("state")) as service:
        yield service


@pytest.mark.parametrize("path", READS)
def test_the_answer_is_that_of_the_route_behind(served, path):
    ready = served.http.get(f"/api/v1/{path}")
    behind = served.http.get(f"/api/v1/{path}", params={"unknown": "1"})  # with a query it goes through FastAPI
    assert ready.status_code == behind.status_code == 200
    assert ready.content == behind.content
    own = {"date", "x-request-id"}
    assert {k: v for k, v in ready.headers.items() if k not in own} == {
        k: v for k, v in behind.headers.items() if k not in own
    }


@pytest.mark.parametrize("path", READS)
def test_it_is_up_to_date_after_each_change(served, path):
    before = served.get(path)
    if "variables" in path:
        served.http.put(f"/api/v1/{path}", json={"value": before["value"] + 1}).raise_for_status()
        assert served.get(path)["value"] == before["value"] + 1
    else:
        served.post("agents/walker/resume")
        assert served.get(path)["state"] == "running"
        served.post("agents/walker/pause")
        assert served.get(path)["state"] == "paused"


@pytest.mark.parametrize("path", READS)
def test_a_key_that_may_not_read_is_refused(served, path):
    for scope, key in served.keys.items():
        answer = served.http.get(f"/api/v1/{path}", headers={"Authorization": f"Apikey {key}"})
        assert answer.status_code == (200 if scope is Scope.READ else 403), scope
    for header in ("", "Apikey wrong"):
        served.problem("GET", path, 401, "unauthenticated", headers={"Authorization": header})


@pytest.mark.parametrize("path", READS)
def test_another_host_is_refused(served, path):
    served.problem("GET", path, 403, "forbidden", headers={"Host": "evil.example"})


def test_what_is_not_there_is_a_problem(served):
    assert "walker" in served.problem("GET", "agents/walkr", 404, "not_found")["detail"]
    assert "gain" in served.problem("GET", "agents/walker/variables/gian", 404, "not_found")["detail"]
    for path in ("agents/walker/variables/gain/x", "agents/walker/nothing"):
        served.problem("GET", path, 404, "not_found")
    assert served.http.put("/api/v1/agents/walker").status_code == 405
