"""Every route with no key, a wrong one, a revoked one and each scope, compared with the table in docs/security.md."""

import re
from pathlib import Path

import pytest
from services import keys_by_scope, running

from agent_service.service.keys import KeyFile, Scope

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
METHODS = ("get", "post", "put", "patch", "delete")
ROW = re.compile(r"\| `([A-Z]+) (/\S*)` \| ([^|]*)\|")


def table():
    return {
        (method, path): set(re.findall(r"`(\w+)`", scopes)) for method, path, scopes in ROW.findall(PAGE.read_text())
    }


def described(service):
    paths = service.http.get("/openapi.json").json()["paths"]
    return {
        (method.upper(), path): {one for needed in operation.get("security", ()) for one in needed["ApiKey"]}
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method in METHODS
    }


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A service, a key for each scope, and one that was revoked."""
    state = tmp_path_factory.mktemp("state")
    keys, file = keys_by_scope(state), KeyFile(state / "keys.jsonl")
    keys["revoked"] = file.create("gone", Scope)[1]
    file.revoke("gone")
    with running(state) as service:
        service.keys = keys
        yield service


def ask(service, method, path, key):
    headers = {"Authorization": "" if key is None else f"Apikey {key}"}
    path = re.sub(r"{\w+}", "nobody", path)
    if path.endswith("/events") and key in service.keys.values() and key == service.keys["read"]:
        with service.http.stream(method, path, headers=headers) as answer:
            return answer.status_code
    return service.http.request(method, path, headers=headers).status_code


def test_the_table_is_the_truth(guarded):
    by_document = described(guarded)
    assert len(by_document) > 30
    for route, scopes in by_document.items():
        assert route in table(), f"docs/security.md says nothing of {route}"
        beside = {"admin", "approve"} if "control" in scopes else set()
        assert scopes == table()[route] - beside, route
    assert set(by_document) == set(table()), "docs/security.md speaks of routes that are not there"


def test_every_route_is_closed(guarded):
    closed = [route for route, scopes in described(guarded).items() if scopes]
    opened = {("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/api/v1/sessions")}
    assert set(described(guarded)) - set(closed) == opened
    for method, path in closed:
        for key in (None, "wrong", guarded.keys["revoked"]):
            assert ask(guarded, method, path, key) == 401, (method, path, key)


@pytest.mark.parametrize("scope", [str(one) for one in Scope])
def test_each_scope_opens_its_routes_and_no_other(guarded, scope):
    for (method, path), needed in described(guarded).items():
        status = ask(guarded, method, path, guarded.keys[scope])
        if needed and scope not in needed:
            assert status == 403, (method, path)
        else:
            assert status not in (401, 403), (method, path)
    guarded.http.post("/api/v1/queue/resume")  # one of them aborted


@pytest.mark.parametrize("path", ["best", "variables", "variables/gain"])
def test_a_read_that_asks_the_agent_needs_control(guarded, path):
    if guarded.http.get("/api/v1/agents/asked").status_code == 404:
        guarded.create("asked")
    key = {"Authorization": f"Apikey {guarded.keys['read']}"}
    assert guarded.http.get(f"/api/v1/agents/asked/{path}?fresh=false", headers=key).status_code in (200, 404)
    found = guarded.problem("GET", f"agents/asked/{path}?fresh=true", 403, "forbidden", headers=key)
    assert "fresh needs the scope 'control'" in found["detail"]


@pytest.mark.parametrize("header", ["Basic YTpi", "Apikey", "Bearer x y", "\xff"])
def test_headers_that_are_no_key(guarded, header):
    found = guarded.problem(
        "GET", "agents", 401, "unauthenticated", headers={"Authorization": header.encode("latin-1")}
    )
    assert header.encode("latin-1").decode("latin-1") not in found["detail"] or not header.strip()


def test_bearer_is_fine_and_a_key_in_the_url_is_not(guarded):
    key = guarded.keys["read"]
    assert guarded.http.get("/api/v1/agents", headers={"Authorization": f"bearer {key}"}).status_code == 200
    for name in ("key", "api_key", "apikey", "token"):
        guarded.problem("GET", "agents", 401, "unauthenticated", params={name: key}, headers={"Authorization": ""})


def test_a_stranger_s_body_is_not_read(guarded):
    answer = guarded.problem(
        "POST", "agents", 401, "unauthenticated", content=b"{not json", headers={"Authorization": ""}
    )
    assert "Apikey KEY" in answer["detail"]
