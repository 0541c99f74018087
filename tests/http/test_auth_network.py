"""Names, origins and limits: what keeps other people's web pages and endless requests out."""

import socket

import pytest
from services import running

from agent_service.launch.local_config import local_config
from agent_service.server import request_checks
from agent_service.server.allowed_hosts import Hosts
from agent_service.service.config import ServiceConfig


def ask(service, method="GET", path="/api/v1/agents", **headers):
    return service.http.request(method, path, headers=headers)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1", "10.1.2.3:8000", "[::1]:8000", "a.localhost"]
)
def test_names_of_this_machine(served, host):
    assert ask(served, Host=host).status_code == 200


def test_this_machine_s_own_name(served):
    assert ask(served, Host=f"{socket.gethostname()}:8000").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/agents", "/healthz", "/docs", "/openapi.json"])
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "127.0.0.1@evil.example"]
)
def test_a_rebound_name_is_refused(served, host, path):
    found = served.problem("GET", path, 403, "forbidden", headers={"Host": host})
    assert "allowed_hosts" in found["detail"]
    assert not host or host not in found["detail"]


def test_pages_of_other_origins(served):
    own = served.url
    assert ask(served, Origin=own).status_code == 200
    for origin in (
        "https://evil.example",
        "null",
        "http://127.0.0.1:1",
        "garbage",
        "http://[",
        own.replace("http", "https:/"),
    ):
        answer = ask(served, "POST", "/api/v1/queue/pause", Origin=origin)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), origin
        assert "access-control-allow-origin" not in answer.headers
    preflight = ask(served, "OPTIONS", Origin="https://evil.example", **{"Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 403


def test_listed_names_and_origins(tmp_path):
    security = {"allowed_hosts": ["agents.example.org", "*.lab"], "cors_origins": ["https://portal.example.org"]}
    with running(tmp_path / "state", security=security) as service:
        for host in ("agents.example.org", "Agents.Example.Org.:443", "a.b.lab"):
            assert ask(service, Host=host).status_code == 200, host
        for host in ("example.org", "lab", "xlab"):
            assert ask(service, Host=host).status_code == 403, host
        # a proxy with TLS in front that passes its own name, or this one's address, on
        assert ask(service, Host="agents.example.org", Origin="https://agents.example.org").status_code == 200
        assert ask(service, Origin="https://agents.example.org").status_code == 200
        answer = ask(service, Origin="https://portal.example.org")
        assert answer.headers["access-control-allow-origin"] == "https://portal.example.org"
        preflight = ask(
            service,
            "OPTIONS",
            Origin="https://portal.example.org",
            **{"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"},
        )
        assert preflight.status_code == 200
        refused = ask(service, Origin="https://portal.example.org", Authorization="")
        assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (401, True)


def test_behind_a_hub_any_name_reaches_a_notebook_s_service(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert local_config().security.allowed_hosts == []
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/alice/")
    assert local_config().security.allowed_hosts == ["*"]
    told = ServiceConfig(security={"allowed_hosts": ["hub.example.org"]})
    assert local_config(told).security.allowed_hosts == ["hub.example.org"]


def test_an_in_process_transport_is_its_own_name():
    hosts = Hosts([], [])
    assert hosts.admits(b"testserver", server="testserver")
    assert not hosts.admits(b"evil.example", server="testserver")


def test_a_body_of_unknown_length_is_limited_everywhere(served):
    def parts():
        for _ in range(request_checks.MAX_BODY // 500_000 + 2):
            yield b"x" * 500_000

    # a route that reads no body, one that does, and one that is not there
    for path in ("queue/pause", "agents", "nowhere"):
        served.problem("POST", path, 413, "too_large", content=parts())
    assert served.get("queue")["state"] == "idle"


def test_a_stranger_may_say_little(served):
    body = b"x" * (request_checks.MAX_BODY_OF_STRANGER + 1)
    served.problem("POST", "/healthz", 413, "too_large", content=body, headers={"Authorization": ""})
    # and nothing of unknown length: it may never end
    served.problem("POST", "/healthz", 413, "too_large", content=iter([b"x"]), headers={"Authorization": ""})


def test_headers_are_limited(served):
    served.problem("GET", "agents", 431, "too_large", headers={"X-Much": "x" * request_checks.MAX_HEADERS})


def test_a_body_that_never_comes_is_given_up(served, monkeypatch):
    monkeypatch.setattr(request_checks, "BODY_PAUSE_S", 0.2)
    key, address = served.server.api_key, served.url.removeprefix("http://").split(":")
    for length in ("Content-Length: 10", "Transfer-Encoding: chunked"):
        with socket.create_connection((address[0], int(address[1])), timeout=20) as raw:
            lines = ("POST /api/v1/agents HTTP/1.1", "Host: localhost", f"Authorization: Apikey {key}", length)
            raw.sendall("\r\n".join([*lines, "", ""]).encode())
            assert raw.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_chunked_body_arrives_whole(served):
    spec = b'{"name": "parts", "type": "brainbox:Walker", "actuators": ["x", "y"], "outcome": "signal"}'
    answer = served.http.post(
        "/api/v1/agents", content=iter([spec[:20], spec[20:]]), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 201, answer.text
