"""Those who follow the journal live, each with a queue of its own."""

from __future__ import annotations

import asyncio
import contextlib
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
        self.dropped = False
        self._wanted = wanted
        self._waiting: list[Event] = []
        self._awake: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        if self.dropped or (self._wanted is not None and not self._wanted(event)):
            return
        if len(self._waiting) < FOLLOWER_CAPACITY:
            self._waiting.append(event)
        else:
            self.dropped = True
        self.wake()

    def wake(self) -> None:
        if self._awake is not None and not self._awake.done():
            self._awake.set_result(None)

    async def next_batch(self, idle_s: float | None) -> list[Event]:
        """Return the events that wait, or wait for one; none when it was woken, or ``idle_s`` went by."""
        if not (self._waiting or self.dropped):
            loop = asyncio.get_running_loop()
            self._awake = loop.create_future()
            timer = None if idle_s is None else loop.call_later(idle_s, self.wake)
            try:
                await self._awake
            finally:
                if timer is not None:
                    timer.cancel()
        batch, self._waiting = self._waiting, []
        return batch


class Followers:
    """Hands each event to those who follow; belongs to the event loop."""

    def __init__(self, journal: JournalReader) -> None:
        self._journal = journal
        self._followers: set[_Follower] = set()

    def put(self, event: Event) -> None:
        """Hand an event over to those that want it."""
        for follower in self._followers:
            follower.put(event)

    async def follow(self, *, after: int, wanted: Callable[[Event], bool] | None = None) -> AsyncGenerator[Event]:
        """Yield what `batches` does, one by one."""
        async with contextlib.aclosing(self.batches(after=after, wanted=wanted)) as batches:
            async for batch in batches:
                for event in batch:
                    yield event

    async def batches(
        self,
        *,
        after: int,
        wanted: Callable[[Event], bool] | None,
        idle_s: float | None = None,
        until: asyncio.Event | None = None,
    ) -> AsyncGenerator[list[Event]]:
        """Yield the events after ``after`` that are wanted: first what the journal holds, then live, all that wait.

        The first batch is empty: from there on nothing is missed. Ends when the reader is too slow, and where facts are
        missing that went into a snapshot. An empty batch comes after ``idle_s`` seconds without an event, and when
        ``until`` is set.
        """
        follower = _Follower(wanted)
        self._followers.add(follower)
        ending = None if until is None else asyncio.ensure_future(until.wait())
        if ending is not None:
            ending.add_done_callback(lambda _: follower.wake())
        try:
            yield []
            seq = after
            while past := await asyncio.to_thread(self._journal.read, after=seq, limit=_PAGE):
                if past[0].seq != seq + 1:
                    return
                seq = past[-1].seq or seq
                yield [event for event in past if wanted is None or wanted(event)]
            is_last = False
            while not is_last:
                batch = await follower.next_batch(idle_s)
                is_last = follower.dropped
                yield [event for event in batch if event.seq is None or event.seq > seq]
        finally:
            self._followers.discard(follower)
            if ending is not None:
                ending.cancel()
