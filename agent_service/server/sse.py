"""The event stream: the journal's facts and what is transient, as server-sent events that resume."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from fastapi.sse import ServerSentEvent

from agent_service.models import Event, EventKind, utcnow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_service.server.service import Service

HEARTBEAT_S: Final = 10.0


async def stream(service: Service, *, after: int | None, agent: str | None) -> AsyncIterator[ServerSentEvent]:
    """Yield events until the client goes, is too slow, or the service stops.

    Parameters
    ----------
    service
        The service.
    after
        Number of the last event the client knows; None: from now on.
    agent
        Only this agent's events, and the service's own.
    """
    newest = service.journal.last_seq
    if after is not None and after > newest:  # the cursor is of another journal
        yield _encode(Event(seq=None, time=utcnow(), agent=None, kind=EventKind.RESET, data={"last_seq": newest}))
        after = None
    since = newest if after is None else after
    events = service.journal.follow(after=since)
    stopping = asyncio.ensure_future(service.stopping.wait())
    following = asyncio.ensure_future(anext(events, None))
    try:
        await asyncio.sleep(0)  # it follows from here on: who has seen the beat misses nothing, transient or not
        # a beat at once, with an id: a client that loses the connection before the first fact resumes without a gap
        yield _encode(_beat(), id_=since)
        while True:
            done, _ = await asyncio.wait(
                {following, stopping}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if stopping in done:
                return
            if not done:
                yield _encode(_beat())
                continue
            event = following.result()
            if event is None:  # too slow: the client resumes by its cursor
                return
            following = asyncio.ensure_future(anext(events, None))
            if agent is None or event.agent in (None, agent):
                yield _encode(event)
    finally:
        stopping.cancel()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await events.aclose()


def _beat() -> Event:
    return Event(seq=None, time=utcnow(), agent=None, kind=EventKind.HEARTBEAT, data={})


def _encode(event: Event, *, id_: int | None = None) -> ServerSentEvent:
    number = event.seq if id_ is None else id_
    return ServerSentEvent(
        raw_data=event.model_dump_json(), event=str(event.kind), id=None if number is None else str(number)
    )
