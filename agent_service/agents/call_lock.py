"""Whose turn it is to call a brain: one call at a time, in the order of asking; and who wants to know how it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service import context
from agent_service.agents.fair_lock import FairLock

if TYPE_CHECKING:
    import asyncio

    from agent_service.context import Watcher


class CallLock:
    """The turn of one agent, taken with ``async with``; belongs to the event loop.

    Who is cancelled while it waits is out of the queue, and nothing happened. Who is refused it: see `FairLock`.
    """

    def __init__(self) -> None:
        self._lock = FairLock()
        self.refuse_requests = self._lock.refuse_requests
        self._waiting: list[Watcher] = []
        self._heir: asyncio.Task[None] | None = None
        self.watcher: Watcher | None = None

    def awaited_by(self, watcher: Watcher) -> bool:
        """Return whether ``watcher`` waits for its turn."""
        return watcher in self._waiting

    def pass_on(self, heir: asyncio.Task[None]) -> None:
        """Let a task have the turn when the block that has it now ends; the task's end gives it to the next."""
        self._heir = heir

    async def __aenter__(self) -> None:
        """Wait for the turn, and take it."""
        watcher = context.watcher()
        if watcher is None:
            await self._lock.__aenter__()
            return
        self._waiting.append(watcher)
        try:
            await self._lock.__aenter__()
        finally:
            self._waiting.remove(watcher)
        self.watcher = watcher
        watcher.began()

    async def __aexit__(self, *_: object) -> None:
        """Give it to the next, or to the heir."""
        self.watcher = None
        heir, self._heir = self._heir, None
        if heir is None:
            self._lock.release()
        else:
            heir.add_done_callback(lambda _: self._lock.release())
