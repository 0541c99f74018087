"""Following the event stream through lost connections."""

from __future__ import annotations

import httpx
import pytest

from agent_service.client import AsyncClient, Client
from agent_service.errors import BackendUnavailable, Unauthenticated


def message(seq: int | None, kind: str = "agent.state") -> bytes:
    head = b"" if seq is None else f"id: {seq}\n".encode()
    number = "null" if seq is None else str(seq)
    data = f'{{"seq": {number}, "time": "2026-11-22T12:00:00Z", "agent": "a", "kind": "{kind}", "data": {{}}}}'
    return head + f"event: {kind}\ndata: {data}\n\n".encode()


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Some messages, then the connection breaks."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = messages

    def __iter__(self):
        yield from self._messages
        raise httpx.ReadError("reset by peer")

    async def __aiter__(self):
        for one in self._messages:
            yield one
        raise httpx.ReadError("reset by peer")


def streams(*answers: Stream | httpx.Response | Exception) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    waiting, requests = list(answers), []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Stream):
            return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=answer)
        return answer

    return httpx.MockTransport(handle), requests


LOST = (
    Stream(message(1), message(None, "heartbeat"), message(2)),
    httpx.ConnectError("refused"),
    Stream(message(3), message(4, "kind.of.the.future"), message(5)),
)


def check(requests: list[httpx.Request]) -> None:
    assert [request.headers.get("Last-Event-ID") for request in requests] == [None, "2", "2"]
    assert all(request.headers["Accept"] == "text/event-stream" for request in requests)
    assert requests[0].url.params["agent"] == "a"


def test_a_lost_connection_is_taken_up_where_it_was_lost():
    transport, requests = streams(*LOST)
    with Client(transport=transport) as client:
        events = client.events("a")
        assert [next(events).seq for _ in range(5)] == [1, None, 2, 3, 5]
        events.close()
    check(requests)


async def test_the_asyncio_client_does_the_same():
    transport, requests = streams(*LOST)
    async with AsyncClient(transport=transport) as client:
        events = client.events("a")
        assert [(await anext(events)).seq for _ in range(5)] == [1, None, 2, 3, 5]
        await events.aclose()
    check(requests)


def test_a_follower_may_begin_in_the_past():
    transport, requests = streams(Stream(message(1)))
    with Client(transport=transport) as client:
        assert next(client.events(last_event_id=0)).seq == 1
    assert requests[0].headers["Last-Event-ID"] == "0"


def away():
    problem = {"type": "", "title": "", "status": 503, "detail": "standing by", "code": "backend-unavailable"}
    of_proxies = [httpx.Response(status, text="<html>no server</html>") for status in (502, 503, 504)]
    return [Stream(message(1)), *of_proxies, httpx.Response(503, json=problem)]


def test_a_proxy_without_a_service_and_a_service_that_starts_are_waited_for():
    transport, _ = streams(*away(), Stream(message(2)))
    with Client(transport=transport) as client:
        events = client.events()
        assert [next(events).seq for _ in range(2)] == [1, 2]


async def test_the_asyncio_client_waits_for_them_too():
    transport, _ = streams(*away(), Stream(message(2)))
    async with AsyncClient(transport=transport) as client:
        events = client.events()
        assert [(await anext(events)).seq for _ in range(2)] == [1, 2]
        await events.aclose()


def test_patience_with_a_service_that_starts_ends():
    transport, _ = streams(*away())
    with Client(transport=transport) as client:
        events = client.events(patience_s=0)
        next(events)
        with pytest.raises(BackendUnavailable, match="answered 502 Bad Gateway"):
            next(events)


def test_patience_ends():
    transport, _ = streams(Stream(message(1)), *[httpx.ConnectError("refused")] * 2)
    with Client(transport=transport) as client:
        events = client.events(patience_s=0)
        next(events)
        with pytest.raises(BackendUnavailable, match="no service answers"):
            next(events)


def test_a_refusal_is_raised_and_not_tried_again():
    problem = {"type": "", "title": "", "status": 401, "detail": "a key is needed", "code": "unauthenticated"}
    transport, requests = streams(httpx.Response(401, json=problem))
    with Client(transport=transport) as client, pytest.raises(Unauthenticated):
        next(client.events())
    assert len(requests) == 1
