"""The page at /, and how a browser is logged in there: codes, sessions, and their end."""

import json
import re

import pytest
from services import running

from agent_service.client import Client
from agent_service.errors import Forbidden
from agent_service.service.keys import Key, KeyFile, Scope
from agent_service.service.login_codes import LASTS_S, MAX_CODES, LoginCodes
from agent_service.service.panel_keys import PanelKey

ORIGIN = "http://127.0.0.1:8000"
BOB = Key("bob", frozenset({Scope.READ}), b"b")


def log_in(served, body=None, **headers):
    return served.http.post("/api/v1/sessions", json=body, headers={"Authorization": "", "Origin": ORIGIN, **headers})


def service_as(served, key, **headers):
    return served.http.get("/api/v1/service", headers={"Authorization": f"Apikey {key}", **headers})


def test_a_browser_gets_the_page_and_a_program_what_it_always_got(served):
    answer = served.http.get("/", headers={"Accept": "text/html,*/*", "Authorization": ""})
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"<script(?! type=\"module\" src=)|style=|https?:", answer.text), "nothing inline or elsewhere"
    plain = served.http.get("/", headers={"Accept": "application/json"})
    assert (plain.status_code, plain.json()["code"]) == (404, "not_found")
    assert served.http.get("/", headers={"Authorization": ""}).status_code == 401


def test_all_that_the_page_loads_is_there_for_everybody(served):
    wanted, there = {"page.js", "panel.css", "page.css", "icon.svg"}, set()
    while wanted - there:
        name = (wanted - there).pop()
        answer = served.http.get(f"/page/{name}", headers={"Authorization": ""})
        assert answer.status_code == 200, name
        assert answer.headers["x-content-type-options"] == "nosniff"
        there.add(name)
        wanted |= set(re.findall(r'from "\./([\w.]+)"', answer.text))
    assert "agent_panel.js" in there
    assert served.http.get("/page/line.js", headers={"Authorization": ""}).status_code == 404
    assert served.http.get("/page/..%2Fapi_page.html", headers={"Authorization": ""}).status_code in (401, 404)


def test_a_code_logs_in_once_with_what_its_key_may_do(served):
    code = served.http.post("/api/v1/login-codes").json()["code"]
    answer = log_in(served, {"code": code})
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.json()["name"], answer.json()["scopes"]) == ("owner", sorted(Scope))
    key = answer.json()["key"]
    assert service_as(served, key).json()["key"] == "owner"
    again = log_in(served, {"code": code})
    assert (again.status_code, "used already" in again.json()["detail"]) == (401, True)
    assert code not in again.text
    assert log_in(served, {"code": "guessed"}).status_code == 401
    assert log_in(served).status_code == 401


def test_a_key_logs_in_and_its_session_is_for_one_origin(served):
    key = log_in(served, Authorization=f"Apikey {served.server.api_key}").json()["key"]
    assert service_as(served, key, Origin=ORIGIN).status_code == 200
    assert service_as(served, key, Origin="http://elsewhere.example").status_code == 403
    assert log_in(served, Authorization="Apikey guessed").status_code == 401
    for path in ("login-codes", "panel-keys", "sessions"):  # a session makes no other, or it would never end
        answer = served.http.post(
            f"/api/v1/{path}", json={"origin": ORIGIN}, headers={"Authorization": f"Apikey {key}", "Origin": ORIGIN}
        )
        assert answer.status_code in (403, 422), path


def test_a_page_behind_a_proxy_has_another_origin_than_the_service(served):
    hub = "https://hub.example.org"
    answer = log_in(served, Authorization=f"Apikey {served.server.api_key}", Origin=hub)
    assert service_as(served, answer.json()["key"], Origin=hub, Host="hub.example.org").status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_logging_out_ends_a_session(served):
    key = log_in(served, Authorization=f"Apikey {served.server.api_key}").json()["key"]
    headers = {"Authorization": f"Apikey {key}"}
    assert served.http.delete("/api/v1/sessions", headers=headers).status_code == 204
    assert service_as(served, key).status_code == 401
    assert served.http.delete("/api/v1/sessions").status_code == 422, "a key is no session"


def test_a_session_and_its_stream_end_with_its_key(tmp_path):
    file = KeyFile(tmp_path / "state" / "keys.jsonl")
    with running(tmp_path / "state") as served:
        secret = file.create("alice", {Scope.READ})[1]
        answer = log_in(served, Authorization=f"Apikey {secret}").json()
        assert (answer["name"], answer["scopes"]) == ("alice", ["read"])
        headers = {"Authorization": f"Apikey {answer['key']}"}
        with served.http.stream("GET", "/api/v1/events", headers=headers) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("event: heartbeat")
            file.revoke("alice")
            assert all("error" not in line for line in lines), "the stream ends"
        assert service_as(served, answer["key"]).status_code == 401
        with Client(served.url, api_key=served.server.api_key) as client:
            code = client.login_code().code
        assert log_in(served, {"code": code}).status_code == 200


def test_neither_code_nor_session_is_logged(served, caplog):
    with caplog.at_level("DEBUG"):
        code = served.http.post("/api/v1/login-codes").json()["code"]
        key = log_in(served, {"code": code}).json()["key"]
        service_as(served, key)
    assert code not in caplog.text
    assert key not in caplog.text
    assert code not in json.dumps(served.get("agents"))


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_code_is_of_no_use_after_a_minute_or_when_many_came_after_it():
    clock = Clock()
    codes = LoginCodes(clock)
    code = codes.make(BOB)
    clock.now += LASTS_S
    assert codes.redeem(code) is None
    first, *_, last = [codes.make(BOB) for _ in range(MAX_CODES + 1)]
    assert (codes.redeem(first), codes.redeem(last)) == (None, BOB)
    with pytest.raises(Forbidden):
        codes.make(PanelKey("bob", BOB.scopes, b"p", None, ORIGIN, BOB, 0.0))
