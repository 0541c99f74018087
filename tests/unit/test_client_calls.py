"""The clients' requests and what they make of answers, against a transport that records and answers from a table."""

from __future__ import annotations

import inspect
import json

import httpx
import numpy as np
import pytest

from agent_service.client import AsyncClient, Client
from agent_service.client._clients import DEFAULT_URL
from agent_service.errors import (
    AgentFault,
    BackendUnavailable,
    DeadlineExceeded,
    FieldError,
    IllegalTransition,
    InvalidInput,
    NotFound,
    ServiceError,
    UsageError,
)
from agent_service.models import AgentSpec

NOW = "2026-11-22T12:00:00Z"
SUGGESTION = {
    "id": "s1",
    "agent": "a",
    "state": "proposed",
    "point": {"x": 1.0},
    "created_at": NOW,
    "updated_at": NOW,
    "added_later": 1,
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("AGENT_SERVICE_URL", raising=False)
    monkeypatch.delenv("AGENT_SERVICE_API_KEY", raising=False)


class Recorder(httpx.MockTransport):
    """Answers the given responses in order, and keeps the requests."""

    def __init__(self, *responses: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self._responses = list(responses)
        super().__init__(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        response = self._responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response


def sent(transport: Recorder) -> object:
    return json.loads(transport.requests[-1].content)


def test_both_clients_have_every_public_method_of_the_other():
    def public(cls: type) -> set[str]:
        return {name for name in dir(cls) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)
    assert inspect.signature(Client.events).parameters == inspect.signature(AsyncClient.events).parameters


def test_numpy_numbers_and_arrays_are_sent_as_plain_ones():
    transport = Recorder(httpx.Response(200, json={"ingested": 1}))
    with Client(transport=transport) as client:
        point = {"x": np.float32(0.5), "n": np.int64(3), "v": np.arange(2), "_id": "s1", "t": (1, 2)}
        assert client.ingest("a", points=[point]) == 1
    assert sent(transport) == {"points": [{"x": 0.5, "n": 3, "v": [0, 1], "_id": "s1", "t": [1, 2]}]}


def test_nan_reaches_the_service_which_knows_the_field():
    transport = Recorder(httpx.Response(200, json={"ingested": 1}))
    with Client(transport=transport) as client:
        client.ingest("a", points=[{"x": float("nan")}])
    assert b"NaN" in transport.requests[0].content


def test_what_is_no_json_is_refused_here():
    with Client(transport=Recorder()) as client, pytest.raises(TypeError, match="object cannot be sent"):
        client.set_variable("a", "gain", object())


def test_a_name_cannot_leave_its_place_in_the_path():
    transport = Recorder(httpx.Response(404, json={}))
    with Client(transport=transport) as client, pytest.raises(NotFound):
        client.agent("../service?x=")
    assert transport.requests[0].url.raw_path == b"/api/v1/agents/..%2Fservice%3Fx%3D"


def test_create_takes_a_spec_or_a_mapping_and_sends_only_what_was_said():
    for given in (
        AgentSpec(name="a", type="sobol", outcome="flux"),
        {"name": "a", "type": "sobol", "outcome": "flux"},
    ):
        transport = Recorder(httpx.Response(409, json={}))
        with Client(transport=transport) as client, pytest.raises(ServiceError):
            client.create(given, plan="scan")
        assert sent(transport) == {"name": "a", "type": "sobol", "outcome": "flux", "plan": "scan"}


def test_lists_are_read_page_by_page():
    transport = Recorder(
        httpx.Response(200, json={"items": [SUGGESTION, SUGGESTION], "next": "c2"}),
        httpx.Response(200, json={"items": [SUGGESTION], "next": None}),
    )
    with Client(transport=transport) as client:
        assert len(client.suggestions("a", state="proposed")) == 3
    first, second = (request.url for request in transport.requests)
    assert dict(first.params) == {"state": "proposed"}
    assert dict(second.params) == {"state": "proposed", "cursor": "c2"}


def test_a_limit_ends_the_paging():
    transport = Recorder(
        httpx.Response(200, json={"items": [SUGGESTION, SUGGESTION], "next": "c2"}),
        httpx.Response(200, json={"items": [SUGGESTION], "next": "c3"}),
    )
    with Client(transport=transport) as client:
        assert len(client.suggestions(limit=3)) == 3
    assert [dict(request.url.params) for request in transport.requests] == [
        {"limit": "3"},
        {"limit": "1", "cursor": "c2"},
    ]


async def test_the_asyncio_client_pages_as_well():
    transport = Recorder(
        httpx.Response(200, json={"items": [SUGGESTION], "next": "c2"}),
        httpx.Response(200, json={"items": [SUGGESTION], "next": None}),
    )
    async with AsyncClient(transport=transport) as client:
        assert [one.id for one in await client.suggestions()] == ["s1", "s1"]


def test_a_problem_is_raised_as_its_own_class_with_all_it_carries():
    problem = {
        "type": "about:blank",
        "title": "t",
        "status": 409,
        "detail": "agent 'a' is running",
        "code": "illegal_transition",
        "legal": ["pause"],
        "errors": [{"field": "config.x", "message": "too big"}],
    }
    client = Client(transport=Recorder(httpx.Response(409, json=problem)))
    with client, pytest.raises(IllegalTransition, match="agent 'a' is running") as caught:
        client.start("a")
    assert caught.value.legal == ("pause",)
    assert caught.value.errors == (FieldError("config.x", "too big"),)


def test_an_agents_traceback_comes_along():
    problem = {"type": "", "title": "", "status": 502, "detail": "d", "code": "agent_fault", "traceback": "Trace"}
    client = Client(transport=Recorder(httpx.Response(502, json=problem)))
    with client, pytest.raises(AgentFault) as caught:
        client.suggest("a")
    assert caught.value.traceback == "Trace"


def test_an_unknown_code_falls_back_to_its_status():
    problem = {"type": "", "title": "", "status": 422, "detail": "d", "code": "from_the_future"}
    with Client(transport=Recorder(httpx.Response(422, json=problem))) as client, pytest.raises(InvalidInput):
        client.suggest("a")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (httpx.Response(404, text="<html>nginx</html>"), "not as an agent service does"),
        (httpx.Response(502, text="<html>nginx</html>"), "as a proxy does that reaches no service"),
        (httpx.Response(200, text="<html>hello</html>"), "did not answer with JSON"),
        (httpx.Response(200, json={"unexpected": 1}), "do the versions differ"),
    ],
)
def test_a_stranger_at_the_address_is_named_as_such(response, expected):
    with Client(transport=Recorder(response)) as client, pytest.raises(ServiceError, match=expected):
        client.service()


@pytest.mark.parametrize(
    ("error", "expected", "says"),
    [
        (httpx.ConnectError("refused"), BackendUnavailable, "agent-service serve"),
        (httpx.ReadTimeout("slow"), DeadlineExceeded, "within 7 s"),
        (httpx.RemoteProtocolError("gone"), BackendUnavailable, "RemoteProtocolError"),
    ],
)
async def test_connection_trouble_says_what_to_do_next(error, expected, says):
    with Client(transport=Recorder(error, error), timeout_s=7) as client, pytest.raises(expected, match=says):
        client.health()
    async with AsyncClient(transport=Recorder(error, error), timeout_s=7) as client:
        with pytest.raises(expected, match=says):
            await client.health()


def test_a_service_that_is_not_ready_is_an_answer():
    body = {"ready": False, "parts": {"journal": {"ready": False, "reason": "disk full"}}}
    with Client(transport=Recorder(httpx.Response(503, json=body))) as client:
        assert client.ready().parts["journal"].reason == "disk full"


def test_address_and_key_come_from_the_environment_when_not_given(monkeypatch):
    assert Client().url == DEFAULT_URL
    monkeypatch.setenv("AGENT_SERVICE_URL", "http://there:1/")
    monkeypatch.setenv("AGENT_SERVICE_API_KEY", "k1")
    for client, url, key in ((Client, "http://there:1", "k1"), (Client, "http://here:2", "k2")):
        transport = Recorder(httpx.Response(200, json={"status": "ok"}))
        given = {} if key == "k1" else {"url": url, "api_key": key}
        with client(transport=transport, **given) as it:
            assert it.health() == "ok"
            assert key not in repr(it)
        assert str(transport.requests[0].url) == f"{url}/healthz"
        assert transport.requests[0].headers["Authorization"] == f"Apikey {key}"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://here:port"])
def test_a_wrong_address_is_refused_at_once(url):
    with pytest.raises(InvalidInput, match="no address of a service"):
        Client(url)


def test_from_state_reads_address_and_key(tmp_path):
    (tmp_path / "service.json").write_text('{"url": "http://127.0.0.1:9"}')
    (tmp_path / "api_key").write_text("secret\n")
    transport = Recorder(httpx.Response(200, json={"status": "ok"}))
    with Client.from_state(tmp_path) as client:
        assert client.url == "http://127.0.0.1:9"
        assert client._http.headers["Authorization"] == "Apikey secret"
        assert transport.requests == []


@pytest.mark.parametrize("content", [None, "", "[]", "{}"])
def test_from_state_without_a_service_says_how_to_start_one(tmp_path, content):
    if content is not None:
        (tmp_path / "service.json").write_text(content)
    with pytest.raises(UsageError, match=r"no service runs on .*agent-service serve --state"):
        Client.from_state(tmp_path)


def test_from_state_says_what_was_perhaps_meant(tmp_path):
    config = tmp_path / "service.toml"
    config.touch()
    with pytest.raises(UsageError, match=r"service.toml is a file; give the state directory of a service"):
        Client.from_state(config)
    (tmp_path / "a.state").mkdir()
    (tmp_path / "a.state" / "service.json").write_text('{"url": "http://127.0.0.1:1"}')
    with pytest.raises(UsageError, match=r"but in it there is one on .*a\.state; name that"):
        Client.from_state(tmp_path)
