"""The answer to one who follows: events as they come, until somebody has enough."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import ServiceError
from agent_service.models import Event, EventKind, utcnow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from agent_service.server.relay.broadcast import Broadcast, Sent
    from agent_service.server.relay.followed import Followed
    from agent_service.server.relay.grants import Grant

LOOKS_EVERY_S: Final = 25.0
"""How often a stream looks whether its keys still open what they did."""

_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(slots=True, kw_only=True)
class FollowerStream:
    """An ASGI application that answers one follower, from ``place`` on, with what is ``wanted``.

    ``first`` is sent before. ``await check()`` raises when the keys open something else; ``only_while`` ends the stream
    when that service is lost.
    """

    events: Broadcast
    grant: Grant
    check: Callable[[], Awaitable[None]]
    first: bytes
    place: int
    wanted: Callable[[Sent], bool] | None = None
    only_while: Followed | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the client goes, is too slow, its keys open something else, or the service is lost."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is a coroutine of one
        gone = asyncio.create_task(_gone(receive, task))
        self.grant.followers += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await _part(send, self.first)
            await self._go_on(send)
        except ServiceError:
            pass  # the stream ends; who connects again is told why
        except asyncio.CancelledError:
            if not gone.done():  # it is the server that ends
                raise
            task.uncancel()
        finally:
            gone.cancel()
            self.grant.followers -= 1
        with contextlib.suppress(Exception):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _go_on(self, send: Send) -> None:
        clock = asyncio.get_running_loop()
        while not self.grant.ends.is_set() and (self.only_while is None or self.only_while.live):
            text = self.events.since(self.place, self.wanted)
            if text is None:  # too slow
                return
            self.place = self.events.end
            if text:
                await _part(send, text)
            if clock.time() - self.grant.asked_at > LOOKS_EVERY_S:
                await self.check()
            if self.place == self.events.end:
                await self.events.more()


async def _part(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


async def _gone(receive: Receive, stream: asyncio.Task[Any]) -> None:
    """Call a stream off when its client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.cancel()


def transient(kind: EventKind, data: dict[str, Any], *, seq: int | None = None) -> bytes:
    """Return an event of the relay's own as it is sent; with ``seq`` a client resumes behind that fact."""
    event = Event(seq=None, time=utcnow(), agent=None, kind=kind, data=data)
    number = b"" if seq is None else b"id: %d\n" % seq
    return b"event: %b\ndata: %b\n%b\n" % (kind.encode(), event.encoded, number)


def beat(*, seq: int | None = None) -> bytes:
    """Return a heartbeat."""
    return transient(EventKind.HEARTBEAT, {}, seq=seq)
