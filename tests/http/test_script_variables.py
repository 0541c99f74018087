"""The routes of bluesky-adaptive 0.x: variables of a start-up script, whatever its getters and setters do."""

import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from services import keys_by_scope, running

from agent_service.service import script_variables
from agent_service.service.script_variables import ScriptVariable


class Thing:
    depth = 10
    frozen = property(lambda self: 5)


def register(service, name, *args, **kwargs):
    service.server.service.script_variables.add(ScriptVariable(name, *args, **kwargs))
    return f"/api/variable/{quote(name, safe='')}"


@pytest.fixture
def script(served):
    """A service of a script that has registered nothing so far."""
    fresh = script_variables.ScriptVariables()
    fresh.script = "site.py"
    served.server.service.script_variables = fresh
    return served


def value(service, path):
    answer = service.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_service_without_a_script_says_so(start):
    service = start()
    for method, path in (("GET", "/api/"), ("GET", "/api/variables/names"), ("GET", "/api/variable/x")):
        assert "--legacy" in service.problem(method, path, 404, "not_found")["detail"]
    service.problem("POST", "/api/variable/x", 404, "not_found", json={"value": 1})


def test_attributes_entries_getters_and_setters(script):
    thing, table = Thing(), {"x": 100}
    depth, x = register(script, "depth", thing, "depth"), register(script, "x", table, "x")
    assert value(script, "/api/variables/names") == {"names": ["depth", "x"]}
    assert (value(script, depth), value(script, x)) == ({"depth": 10}, {"x": 100})
    assert script.http.post(depth, json={"value": 20}).json() == {"depth": 20}
    assert script.http.post(x, json={"value": {"any": ["thing"]}}).json() == {"x": {"any": ["thing"]}}
    assert (thing.depth, table) == (20, {"x": {"any": ["thing"]}})
    doubled = register(script, "doubled", getter=lambda: thing.depth * 2, setter=lambda number: number + 1)
    assert value(script, doubled) == {"doubled": 40}
    assert script.http.post(doubled, json={"value": 1}).json() == {"doubled": 2}


@pytest.mark.parametrize("name", ["a/b", "a b", "/", "names", "ä", "%2F", "v?x=1"])
def test_any_name_is_found(script, name):
    path = register(script, name, {"k": 1}, "k")
    assert value(script, path) == {name: 1}
    assert script.http.post(path, json={"value": 2}).json() == {name: 2}


def test_what_is_not_there_is_404_and_what_cannot_be_is_400(script):
    register(script, "depth", Thing(), "depth")
    assert "did you mean 'depth'" in script.problem("GET", "/api/variable/dept", 404, "not_found")["detail"]
    script.problem("POST", "/api/variable/dept", 404, "not_found", json={"value": 1})
    script.problem("GET", register(script, "gone", {}, "k"), 404, "not_found")
    script.problem("POST", register(script, "gone", Thing(), "k"), 404, "not_found", json={"value": 1})
    script.problem("POST", register(script, "ro", getter=lambda: 1), 400, "invalid_input", json={"value": 1})
    script.problem("GET", register(script, "wo", setter=lambda value: 1), 400, "invalid_input")
    script.problem("GET", register(script, "nothing"), 400, "invalid_input")
    script.problem("POST", register(script, "f", Thing(), "frozen"), 400, "invalid_input", json={"value": 1})


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'"value"', b"{", b"\xff", b'{"values": 1}'])
def test_a_body_without_a_value_is_400(script, body):
    path = register(script, "depth", Thing(), "depth")
    status = script.http.post(path, content=body).status_code
    assert status == 400 or (body == b"\xff" and status == 422)  # no UTF-8 is refused before any route


def test_a_value_may_be_null_or_false(script):
    table = {"k": 1}
    path = register(script, "k", table, "k")
    for one in (None, False, 0, "", []):
        assert script.http.post(path, json={"value": one}).json() == {"k": one}
        assert table["k"] == one


def failing(error):
    def raises(*args):
        raise error

    return raises


@pytest.mark.parametrize(
    "error", [ValueError("too deep"), KeyError("k"), SystemExit(3), KeyboardInterrupt(), MemoryError()]
)
def test_a_getter_that_raises_is_502_and_a_setter_400(script, error):
    path = register(script, "odd", getter=failing(error), setter=failing(error))
    assert type(error).__name__ in script.problem("GET", path, 502, "agent_fault")["detail"]
    assert type(error).__name__ in script.problem("POST", path, 400, "invalid_input", json={"value": 1})["detail"]
    assert script.http.get("/healthz").status_code == 200


def looped():
    inside = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize("odd", [object(), looped(), 1j, b"bytes", lambda: 1, Thing])
def test_what_json_cannot_hold_is_502(script, odd):
    assert "odd" in script.problem("GET", register(script, "odd", getter=lambda: odd), 502, "agent_fault")["detail"]
    assert value(script, register(script, "good", {"k": 1}, "k")) == {"good": 1}


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (np.float64(1.5), 1.5),
        (np.int32(3), 3),
        (np.bool_(True), True),
        (np.arange(3), [0, 1, 2]),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (float("nan"), None),
        (float("inf"), None),
        ((1, {2: "x"}), [1, {"2": "x"}]),
        ({"a"}, ["a"]),
        (2**53 + 1, 2**53 + 1),
    ],
)
def test_numbers_of_any_kind_are_told(script, one, told):
    assert value(script, register(script, "odd", getter=lambda: one)) == {"odd": told}


def test_a_setter_that_returns_nothing_answers_what_its_getter_says(script):
    table = {"k": 1}
    path = register(script, "k", getter=lambda: table["k"], setter=lambda new: table.update(k=min(new, 5)))
    assert script.http.post(path, json={"value": 9}).json() == {"k": 5}
    assert script.http.post(register(script, "do", setter=lambda new: None), json={"value": 9}).json() == {"do": None}


def test_a_slow_getter_freezes_nothing_and_is_called_once_for_all_who_wait(script):
    go, calls = threading.Event(), []

    def slow():
        calls.append(threading.get_ident())
        go.wait(20)
        return len(calls)

    path = register(script, "slow", getter=slow, setter=lambda new: new)
    other = register(script, "other", {"k": 1}, "k")
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(value, script, path)
        while not calls:
            pass
        rest = [pool.submit(value, script, path) for _ in range(10)]
        assert value(script, other) == {"other": 1}
        assert script.http.post(path, json={"value": 3}).json() == {"slow": 3}
        assert script.http.get("/api/v1/agents").status_code == 200
        assert len(calls) == 1
        go.set()
        assert first.result() == {"slow": 1}
        assert {one.result()["slow"] for one in rest} <= {2, 3}  # each asked before it heard: none is told the first


def test_what_is_set_is_read_though_an_older_reading_is_under_way(script):
    go, table, reads = threading.Event(), {"k": "old"}, []

    def slow():
        seen = table["k"]
        reads.append(seen)
        go.wait(20)
        return seen

    path = register(script, "k", getter=slow, setter=lambda new: table.update(k=new) or new)
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(value, script, path)
        while not reads:
            pass
        script.http.post(path, json={"value": "new"})
        late = pool.submit(value, script, path)
        go.set()
        assert (early.result(), late.result()) == ({"k": "old"}, {"k": "new"})


def test_values_are_set_in_the_order_of_the_requests(script):
    go, seen = threading.Event(), []

    def setter(new):
        if not seen:
            go.wait(20)
        seen.append(new)
        return new

    path = register(script, "k", setter=setter)
    variable = script.server.service.script_variables.get("k")
    with ThreadPoolExecutor(5) as pool:
        asked = []
        for number in range(5):
            asked.append(pool.submit(script.http.post, path, json={"value": number}))
            while variable._waiting <= number:
                pass
        go.set()
        assert [one.result().json()["k"] for one in asked] == [0, 1, 2, 3, 4]
    assert seen == [0, 1, 2, 3, 4]


def test_one_that_takes_too_long_is_504_and_goes_on(script, monkeypatch):
    monkeypatch.setattr(script_variables, "ANSWERS_WITHIN_S", 0.05)
    go, seen = threading.Event(), []

    def setter(new):
        go.wait(20)
        seen.append(new)

    path = register(script, "k", setter=setter)
    assert "goes on" in script.problem("POST", path, 504, "deadline_exceeded", json={"value": 1})["detail"]
    go.set()
    while not seen:
        pass
    assert seen == [1]


def test_no_more_than_a_hundred_wait_to_be_set(script, monkeypatch):
    monkeypatch.setattr(script_variables, "ANSWERS_WITHIN_S", 0.01)
    monkeypatch.setattr(script_variables, "MOST_WAITING", 3)
    go = threading.Event()
    path = register(script, "k", setter=lambda new: go.wait(20))
    statuses = [script.http.post(path, json={"value": 1}).status_code for _ in range(5)]
    go.set()
    assert statuses == [504, 504, 504, 503, 503]


def test_keys_and_scopes_hold(tmp_path):
    keys = keys_by_scope(tmp_path)
    with running(tmp_path) as service:
        service.server.service.script_variables.script = "site.py"
        path = register(service, "k", {"k": 1}, "k")
        for header in ("Apikey", "Bearer"):
            ask = {"headers": {"Authorization": f"{header} {keys['read']}"}}
            assert httpx.get(service.url + path, **ask).json() == {"k": 1}
            assert httpx.post(service.url + path, json={"value": 2}, **ask).status_code == 403
        control = {"Authorization": f"Apikey {keys['control']}"}
        assert httpx.post(service.url + path, json={"value": 2}, headers=control).json() == {"k": 2}
        assert httpx.get(service.url + path).status_code == 401
        assert httpx.post(service.url + path, json={"value": 2}).status_code == 401


def test_programs_of_this_machine_need_no_key_where_that_is_switched_on(tmp_path):
    with running(tmp_path, security={"variables": "loopback"}) as service:
        service.server.service.script_variables.script = "site.py"
        url = service.url + register(service, "k", {"k": 1}, "k")
        assert httpx.get(url).json() == {"k": 1}
        assert httpx.post(url, json={"value": 2}).json() == {"k": 2}
        assert httpx.get(f"{service.url}/api/").status_code == 200
        assert httpx.get(f"{service.url}/api/v1/agents").status_code == 401
        assert httpx.post(f"{service.url}/api/v1/queue/pause").status_code == 401
        assert httpx.get(url, headers={"Authorization": "Apikey wrong"}).status_code == 401
        for name, told in {
            "Origin": service.url,
            "Referer": "http://evil.example/",
            "Sec-Fetch-Site": "cross-site",
            "X-Forwarded-For": "10.0.0.1",
            "Forwarded": "for=10.0.0.1",
            "Host": "evil.example",
        }.items():
            assert httpx.post(url, json={"value": 3}, headers={name: told}).status_code in (401, 403), name
        assert httpx.get(url).json() == {"k": 2}
