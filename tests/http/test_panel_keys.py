"""The keys of notebook pages: what they may do, from which pages, and when they end."""

import json
import sqlite3

import httpx
import pytest
from services import running

from agent_service.client import Client
from agent_service.errors import Forbidden, InvalidInput
from agent_service.service.keys import Key, KeyFile, Scope
from agent_service.service.panel_keys import LASTS_S, MAX_OF_KEY, PanelKeys

PAGE, OTHER = "http://127.0.0.1:8888", "https://hub.example.org"
OWNER = Key("owner", frozenset(Scope), b"o")
BOB = Key("bob", frozenset({Scope.READ, Scope.CONTROL}), b"b")


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys(clock):
    return PanelKeys(clock)


def valid(keys, secret, holds=lambda _: True):
    return keys.find(secret, holds=holds) is not None


def test_it_may_do_what_its_maker_may_but_for_code(keys):
    assert keys.make(OWNER, PAGE)[0].scopes == {"read", "propose", "control", "approve"}
    made, secret = keys.make(BOB, PAGE)
    assert (made.name, made.scopes) == ("bob", {"read", "control"})
    assert keys.find(secret, holds=lambda _: True) == made
    assert keys.find(secret + "0", holds=lambda _: True) is None


def test_it_ends_unless_it_is_renewed_and_with_its_maker(keys, clock):
    secret = keys.make(OWNER, PAGE)[1]
    assert not valid(keys, secret, holds=lambda key: key != OWNER)
    clock.now += LASTS_S - 1
    assert valid(keys, secret)
    assert keys.make(OWNER, PAGE, renews=secret)[1] == secret
    clock.now += LASTS_S - 1
    assert valid(keys, secret)
    assert keys.admits(PAGE)
    clock.now += 1
    assert not valid(keys, secret)
    assert not keys.admits(PAGE)
    assert keys.make(OWNER, PAGE, renews=secret)[1] != secret, "what has ended stays so"


def test_nobody_renews_what_is_anothers(keys):
    secret = keys.make(OWNER, PAGE)[1]
    assert keys.make(BOB, PAGE, renews=secret)[1] != secret
    assert keys.make(OWNER, OTHER, renews=secret)[1] != secret
    made = keys.find(secret, holds=lambda _: True)
    with pytest.raises(Forbidden, match="makes no other"):
        keys.make(made, PAGE)


def test_too_many_cost_their_maker_the_oldest_and_nobody_else(keys, clock):
    others = keys.make(BOB, PAGE)[1]
    secrets = []
    for _ in range(MAX_OF_KEY + 1):
        clock.now += 1
        secrets.append(keys.make(OWNER, PAGE)[1])
    assert valid(keys, others)
    assert [valid(keys, one) for one in secrets] == [False, *[True] * MAX_OF_KEY]


@pytest.mark.parametrize(
    "origin", ["", "null", "*", "https://a.example/", "https://a.example/path", "ftp://a", "https://a\r\nb", "http://"]
)
def test_an_origin_is_one_of_a_web_page(keys, origin):
    with pytest.raises(InvalidInput, match="origin must be"):
        keys.make(OWNER, origin)
    assert not keys.admits(origin)


# in a running service ---------------------------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path):
    KeyFile(tmp_path / "state" / "keys.jsonl").path.parent.mkdir()
    with running(tmp_path / "state") as one:
        one.state = tmp_path / "state"
        one.alice = KeyFile(one.state / "keys.jsonl").create("alice", [Scope.READ, Scope.CONTROL])[1]
        yield one


def made_by(service, secret, origin=PAGE, **more):
    with Client(service.url, api_key=secret) as client:
        return client.panel_key(origin, **more).key


def ask(service, key, method="GET", path="/api/v1/service", **headers):
    return httpx.request(method, f"{service.url}{path}", headers={"Authorization": f"Apikey {key}", **headers})


def preflight(service, origin, method="POST"):
    wants = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type"}
    return httpx.options(f"{service.url}/api/v1/queue/abort", headers={"Origin": origin, **wants})


def test_a_page_reaches_the_service_with_its_own_key_and_from_its_own_origin_only(service):
    assert preflight(service, PAGE).status_code == 403
    key = made_by(service, service.alice)
    allowed = preflight(service, PAGE)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
    answer = ask(service, key, "POST", "/api/v1/queue/abort", Origin=PAGE)
    assert (answer.status_code, answer.json()["state"]) == (200, "held")
    assert answer.headers["access-control-allow-origin"] == PAGE
    for origin in (OTHER, "null", service.url, f"{PAGE}0"):
        refused = ask(service, key, "POST", "/api/v1/queue/resume", Origin=origin)
        assert refused.status_code == 403, origin
        assert "access-control-allow-origin" not in refused.headers
        assert preflight(service, origin).status_code in (401, 403), "no CORS, so the usual refusal"
    # the page's origin opens nothing for another key, not even the owner's
    for other in (service.alice, service.server.api_key):
        assert ask(service, other, "POST", "/api/v1/queue/resume", Origin=PAGE).status_code == 403
    assert ask(service, key).json()["queue"]["state"] == "held"


def test_through_a_notebook_server_it_is_known_by_that_servers_name(service):
    key = made_by(service, service.alice, OTHER)
    assert ask(service, key, Host="hub.example.org").status_code == 200
    assert ask(service, key, "POST", "/api/v1/queue/abort", Host="hub.example.org", Origin=OTHER).status_code == 200
    assert ask(service, key, Host="evil.example").status_code == 403
    assert ask(service, service.alice, Host="hub.example.org").status_code == 403


def test_what_it_does_is_its_makers_doing_and_no_more_than_that_may(service):
    key = made_by(service, service.alice)
    told = ask(service, key).json()
    assert (told["key"], told["scopes"]) == ("alice", ["read", "control"])
    spec = {"name": "a", "type": "brainbox:Walker", "actuators": ["x"], "outcome": "signal"}
    code = httpx.post(
        f"{service.url}/api/v1/agents",
        json=spec,
        headers={"Authorization": f"Apikey {made_by(service, service.server.api_key)}", "Origin": PAGE},
    )
    assert (code.status_code, "admin" in code.json()["detail"]) == (403, True)
    again = httpx.post(
        f"{service.url}/api/v1/panel-keys", json={"origin": PAGE}, headers={"Authorization": f"Apikey {key}"}
    )
    assert again.status_code == 403


def test_it_ends_when_its_maker_is_revoked(service):
    key = made_by(service, service.alice)
    with httpx.stream(
        "GET", f"{service.url}/api/v1/events", headers={"Authorization": f"Apikey {key}", "Origin": PAGE}
    ) as events:
        assert events.status_code == 200
        KeyFile(service.state / "keys.jsonl").revoke("alice")
        assert ask(service, key).status_code == 401
        assert ask(service, key, Origin=PAGE).status_code == 403, "a stranger's page"
        for _ in events.iter_raw():  # the stream ends by itself
            pass


def test_it_is_written_nowhere_and_listed_nowhere(service):
    key = made_by(service, service.alice)
    ask(service, key, "POST", "/api/v1/queue/abort", Origin=PAGE)
    with sqlite3.connect(service.state / "journal.db") as journal:
        dump = "\n".join(journal.iterdump())
    kept = b"".join(one.read_bytes() for one in service.state.rglob("*") if one.is_file())
    assert key not in dump
    assert key.encode() not in kept
    assert key not in json.dumps(
        [ask(service, service.server.api_key, path=f"/api/v1/{one}").json() for one in ("service", "jobs")]
    )
