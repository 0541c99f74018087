"""Connections that never become a request: heads without an end, slow ones, and too many of them."""

import socket

import pytest
from services import wait_until

from agent_service.server import connection


def connect(service):
    address = service.url.removeprefix("http://").split(":")
    return socket.create_connection((address[0], int(address[1])), timeout=20)


def is_closed(raw):
    raw.settimeout(0.05)
    try:
        return raw.recv(65536) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def open_connections(service):
    return len(service.server._server.server_state.connections)


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Much: ",
        b"GET /",
        b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
    ],
    ids=["header", "url", "trailer"],
)
def test_a_head_without_an_end_is_cut_off(served, beginning):
    with connect(served) as raw:
        raw.sendall(beginning)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            raw.sendall(b"a" * 100 * connection.MAX_HEAD)
    assert served.http.get("/healthz").status_code == 200


def test_a_head_that_is_too_long_is_told(served):
    with connect(served) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"a" * connection.MAX_HEAD)
        raw.sendall(b"a")
        assert raw.recv(65536).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("beginning", [b"", b"GET /hea", b"GET /healthz HTTP/1.1\r\nHost: lo", b"\r\n\r\n"])
def test_a_head_that_does_not_come_is_given_up(served, monkeypatch, beginning):
    monkeypatch.setattr(connection, "HEAD_WITHIN_S", 0.2)
    with connect(served) as raw:
        raw.sendall(beginning)
        assert raw.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert raw.recv(65536) == b""


def test_a_slow_request_s_own_time_does_not_count(served, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_WITHIN_S", 0.2)
    served.create("slow", type="brainbox:Sleepy", config={"seconds": 0.6})
    assert served.post("agents/slow/start")["name"] == "slow"


def test_many_connections_that_ask_nothing_keep_nobody_out(served, monkeypatch):
    monkeypatch.setattr(connection.BoundedConnection, "most_connections", 8)
    with served.http.stream("GET", "/api/v1/events") as stream:
        idle = [connect(served) for _ in range(30)]
        try:
            for one in idle:
                one.sendall(b"GET /hea")
            wait_until(lambda: sum(is_closed(one) for one in idle) >= 30 - 8)
            assert open_connections(served) <= 8
            assert served.http.get("/healthz").status_code == 200
            served.post("queue/pause")
            assert next(line for line in stream.iter_lines() if '"paused"' in line), "what is in use stays"
        finally:
            for one in idle:
                one.close()
    served.post("queue/resume")
