"""The event stream: the journal's facts and what is transient, as server-sent events that resume."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from fastapi.sse import ServerSentEvent

from agent_service.models import Event, EventKind, utcnow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from agent_service.service.keys import Key
    from agent_service.service.service import Service

HEARTBEAT_S: Final = 10.0
LOOKS_EVERY_S: Final = 0.5
"""How often a stream looks whether its key is still valid."""


async def stream(
    service: Service, *, key: Key, after: int | None, agent: str | None, kinds: Collection[EventKind]
) -> AsyncIterator[ServerSentEvent]:
    """Yield events until the client goes, is too slow, its key is revoked, or the service stops.

    Parameters
    ----------
    service
        The service.
    key
        Whose stream it is.
    after
        Number of the last event the client knows; None: from now on.
    agent
        Only this agent's events, and the service's own.
    kinds
        Only events of these kinds, and what is the stream's own: ``heartbeat`` and ``reset``; all when it is empty.
    """
    newest = service.journal.last_seq
    if after is not None and not service.journal.snapshot_seq <= after <= newest:
        # what came after it is in a snapshot by now, or it is the cursor of another journal
        yield _encode(Event(seq=None, time=utcnow(), agent=None, kind=EventKind.RESET, data={"last_seq": newest}))
        after = None
    since = newest if after is None else after

    def wanted(event: Event) -> bool:
        return (agent is None or event.agent in (None, agent)) and (not kinds or event.kind in kinds)

    # what is not wanted is left out at the source: it wakes nobody
    events = service.journal.follow(after=since, wanted=wanted)
    stopping = asyncio.ensure_future(service.stopping.wait())
    following = asyncio.ensure_future(anext(events, None))
    clock = asyncio.get_running_loop()
    spoke = clock.time()
    try:
        await asyncio.sleep(0)  # it follows from here on: who has seen the beat misses nothing, transient or not
        # a beat at once, with an id: a client that loses the connection before the first fact resumes without a gap
        yield _encode(_beat(), id_=since)
        while True:
            done, _ = await asyncio.wait(
                {following, stopping}, timeout=LOOKS_EVERY_S, return_when=asyncio.FIRST_COMPLETED
            )
            if stopping in done or not service.access.holds(key):
                return
            if not done:
                if clock.time() - spoke >= HEARTBEAT_S:
                    spoke = clock.time()
                    yield _encode(_beat())
                continue
            event = following.result()
            if event is None:  # too slow: the client resumes by its cursor
                return
            following = asyncio.ensure_future(anext(events, None))
            spoke = clock.time()
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
