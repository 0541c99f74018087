"""Whose turn it is to call a brain: one call at a time, in the order of asking; and who wants to know how it goes."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from agent_service.models import CallProgress


class Watcher(Protocol):
    """Whoever asked for a call, and follows it: a job."""

    @property
    def id(self) -> str | None:
        """Its id, where it can be found by one."""
        ...

    def began(self) -> None:
        """Its turn has come."""
        ...

    def progressed(self, progress: CallProgress) -> None:
        """Note how far the agent's code says it is."""
        ...


_watcher: ContextVar[Watcher | None] = ContextVar("agent_service_watcher", default=None)


@contextlib.contextmanager
def watched_by(watcher: Watcher | None) -> Generator[None]:
    """Let calls that are asked for within the block, and in tasks begun there, be followed; None: by nobody."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class Turn:
    """The turn of one agent, taken with ``async with``; belongs to the event loop.

    Who is cancelled while it waits is out of the queue, and nothing happened.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting: list[Watcher] = []
        self.watcher: Watcher | None = None

    def awaited_by(self, watcher: Watcher) -> bool:
        """Return whether ``watcher`` waits for its turn."""
        return watcher in self._waiting

    async def __aenter__(self) -> None:
        """Wait for the turn, and take it."""
        watcher = _watcher.get()
        if watcher is None:
            await self._lock.acquire()
            return
        self._waiting.append(watcher)
        try:
            await self._lock.acquire()
        finally:
            self._waiting.remove(watcher)
        self.watcher = watcher
        watcher.began()

    async def __aexit__(self, *_: object) -> None:
        """Give it to the next."""
        self.watcher = None
        self._lock.release()
