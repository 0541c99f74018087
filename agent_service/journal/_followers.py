"""Those who follow the journal live, each with a queue of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from agent_service.models import Event
    from agent_service.protocols import JournalReader

FOLLOWER_CAPACITY: Final = 10_000
"""Events a follower may lag behind; beyond, it is dropped and resumes from the journal by its cursor."""

_PAGE: Final = 1000


class _Follower:
    """Where the wanted events arrive for one reader; `dropped` when the reader was too slow."""

    def __init__(self, wanted: Callable[[Event], bool] | None) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue(FOLLOWER_CAPACITY)
        self.dropped = False
        self.wanted = wanted

    def put(self, event: Event) -> None:
        if self.wanted is not None and not self.wanted(event):
            return
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped = True


class Followers:
    """Hands each event to those who follow; belongs to the event loop."""

    def __init__(self) -> None:
        self._followers: set[_Follower] = set()

    def put(self, event: Event) -> None:
        """Hand an event over to those that want it."""
        for follower in self._followers:
            follower.put(event)

    async def follow(
        self, journal: JournalReader, *, after: int, wanted: Callable[[Event], bool] | None
    ) -> AsyncGenerator[Event]:
        """Yield the events after ``after`` that are wanted: first what ``journal`` holds, then live.

        Ends when the reader is too slow, and where facts are missing that went into a snapshot.
        """
        follower = _Follower(wanted)
        self._followers.add(follower)
        try:
            seq = after
            while past := await asyncio.to_thread(journal.read, after=seq, limit=_PAGE):
                if past[0].seq != seq + 1:
                    return
                for event in past:
                    seq = event.seq or seq
                    if wanted is None or wanted(event):
                        yield event
            while not (follower.dropped and follower.queue.empty()):
                event = await follower.queue.get()
                if event.seq is None or event.seq > seq:
                    seq = event.seq or seq
                    yield event
        finally:
            self._followers.discard(follower)
