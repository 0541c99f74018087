"""The event stream: the journal's facts and what is transient, as server-sent events that resume.

An event is encoded once, whoever follows, and what waits for a client is sent in one piece.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from fastapi.sse import EventSourceResponse

from agent_service.models import Event, EventKind, utcnow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from starlette.types import Receive, Scope, Send

    from agent_service.service.keys import Key
    from agent_service.service.service import Service

HEARTBEAT_S: Final = 10.0
LOOKS_EVERY_S: Final = 0.5
"""How often a stream looks whether its key is still valid."""


class EventStream(EventSourceResponse):
    """The answer to who follows; its body is what `stream` yields."""

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        super().__init__(pieces, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the client goes, or the stream ends."""
        async with contextlib.aclosing(self._pieces):
            await super().__call__(scope, receive, send)


async def stream(
    service: Service, *, key: Key, after: int | None, agent: str | None, kinds: Collection[EventKind]
) -> AsyncGenerator[bytes]:
    """Yield events until the client goes, is too slow, its key is revoked, or the service stops.

    ``after`` is the number of the last event that the client knows; None: from now on. With ``agent`` only this agent's
    events and the service's own come, with ``kinds`` only those, ``heartbeat`` and ``reset``.
    """
    newest = service.journal.last_seq
    if after is not None and not service.journal.seqs.forgotten <= after <= newest:
        # what came after it is in a snapshot by now, or it is the cursor of another journal
        yield _encoded(Event(seq=None, time=utcnow(), agent=None, kind=EventKind.RESET, data={"last_seq": newest}))
        after = None
    since = newest if after is None else after

    def wanted(event: Event) -> bool:
        return (agent is None or event.agent in (None, agent)) and (not kinds or event.kind in kinds)

    # what is not wanted is left out at the source: it wakes nobody
    batches = service.journal.follow_in_batches(
        after=since, wanted=wanted, idle_s=LOOKS_EVERY_S, until=service.stopping
    )
    clock = asyncio.get_running_loop()
    async with contextlib.aclosing(batches):
        await anext(batches)  # it follows from here on: who has seen the beat misses nothing, transient or not
        # a beat at once, with an id: a client that loses the connection before the first fact resumes without a gap
        yield _encoded(_beat(), id_=since)
        sent_at = looked_at = clock.time()
        async for batch in batches:
            now = clock.time()
            if not batch or now - looked_at >= LOOKS_EVERY_S:
                looked_at = now
                if service.stopping.is_set() or not service.access.holds(key):
                    return
            if batch:
                sent_at = now
                yield b"".join(map(_encoded, batch))
            elif now - sent_at >= HEARTBEAT_S:
                sent_at = now
                yield _encoded(_beat())


def _beat() -> Event:
    return Event(seq=None, time=utcnow(), agent=None, kind=EventKind.HEARTBEAT, data={})


def _encoded(event: Event, *, id_: int | None = None) -> bytes:
    number = event.seq if id_ is None else id_
    id_line = b"" if number is None else b"id: %d\n" % number
    return b"event: %b\ndata: %b\n%b\n" % (event.kind.encode(), event.encoded, id_line)
