"""Calls that are answered before FastAPI's routes are tried: the same answers, and the same refusals."""

import json

import pytest
from services import paused_walker

from agent_service.service.keys import Scope

CALLS = {"suggest": {"n_points": 1}, "ingest": {"points": [{"x": 1.0, "y": 0.0, "signal": 1.0}]}}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with paused_walker(tmp_path_factory.mktemp("state")) as service:
        yield service


def both(served, call, **request):
    """Return the answers to the same request, plain, and with a query that lets it go through FastAPI."""
    return [served.http.post(f"/api/v1/agents/walker/{call}{query}", **request) for query in ("", "?&")]


@pytest.mark.parametrize("call", CALLS)
def test_the_answer_is_that_of_the_route_behind(served, call):
    direct, behind = both(served, call, json=CALLS[call])
    assert direct.status_code == behind.status_code == 200
    assert direct.json().keys() == behind.json().keys()
    own = {"date", "x-request-id", "content-length"}
    assert {k: v for k, v in direct.headers.items() if k not in own} == {
        k: v for k, v in behind.headers.items() if k not in own
    }


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b'{"n_points": 0, "points": 3}',
        b'{"odd": 1}',
        b'{"n_points": NaN, "points": []}',
    ],
)
def test_what_is_not_valid_is_refused_in_the_same_words(served, call, body):
    direct, behind = both(served, call, content=body, headers={"Content-Type": "application/json"})
    assert direct.status_code == behind.status_code == 422
    assert {**direct.json(), "request_id": ""} == {**behind.json(), "request_id": ""}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=utf-8", None])
def test_another_kind_of_body(served, call, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    direct, behind = both(served, call, content=json.dumps(CALLS[call]).encode(), headers=headers)
    assert direct.status_code == behind.status_code


@pytest.mark.parametrize("call", CALLS)
def test_the_preference_for_a_wait_counts(served, call):
    for answer in both(served, call, json=CALLS[call], headers={"Prefer": "wait=0"}):
        assert answer.status_code in (200, 202)
        assert answer.headers["preference-applied"] == "wait=0"


@pytest.mark.parametrize("call", CALLS)
def test_a_key_that_may_not_control_is_refused(served, call):
    for scope, key in served.keys.items():
        answer = served.http.post(
            f"/api/v1/agents/walker/{call}", json=CALLS[call], headers={"Authorization": f"Apikey {key}"}
        )
        assert answer.status_code == (200 if scope is Scope.CONTROL else 403), scope
    served.problem("POST", f"agents/walker/{call}", 401, "unauthenticated", json={}, headers={"Authorization": ""})


@pytest.mark.parametrize("call", CALLS)
def test_what_is_not_there_is_a_problem(served, call):
    assert "walker" in served.problem("POST", f"agents/walkr/{call}", 404, "not_found", json=CALLS[call])["detail"]
