"""Locks that are taken in the order of asking, and refused to requests while the journal cannot be written.

`CallLock` is whose turn it is to call a brain; it also knows who wants to know how the call goes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from agent_service import context
from agent_service.errors import BackendUnavailable

if TYPE_CHECKING:
    from agent_service.context import Watcher


class _Waiter(NamedTuple):
    granted: asyncio.Future[None]
    patient: bool


class FairLock:
    """A lock, taken with ``async with``; belongs to the event loop.

    Who has it may wait for the journal. A request may not: it would hang until somebody has made space on the disk. So
    while the journal cannot be written, entering raises `BackendUnavailable` in a request; those that wait by then are
    refused, too.
    """

    def __init__(self) -> None:
        self._held = False
        self._waiters: list[_Waiter] = []
        self._fault: str | None = None

    def refuse_requests(self, fault: str | None) -> None:
        """Let no request wait for it, for that is what is wrong with the journal; None: let them wait again."""
        self._fault = fault
        if fault is not None:
            for waiter in self._waiters:
                if not waiter.patient and not waiter.granted.done():
                    waiter.granted.set_exception(_refusal(fault))

    @property
    def is_free(self) -> bool:
        """Whether nobody has it, so that whoever asks now gets it at once."""
        return not self._held

    async def __aenter__(self) -> None:
        """Wait for it, and take it."""
        if not self._held:
            self._held = True
            return
        patient = context.is_patient()
        if self._fault is not None and not patient:
            raise _refusal(self._fault)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), patient)
        self._waiters.append(waiter)
        try:
            await waiter.granted
        except BaseException:
            if waiter.granted.done() and not waiter.granted.cancelled() and waiter.granted.exception() is None:
                self.release()  # it was cancelled right after
            raise
        finally:
            self._waiters.remove(waiter)

    async def __aexit__(self, *_: object) -> None:
        """Give it to the next."""
        self.release()

    def release(self) -> None:
        """Give it to the one that has waited longest."""
        for waiter in self._waiters:
            if not waiter.granted.done():
                waiter.granted.set_result(None)
                return
        self._held = False


class CallLock(FairLock):
    """The turn of one agent, taken with ``async with``; belongs to the event loop.

    Who is cancelled while it waits is out of the queue, and nothing happened. Who is refused it: see `FairLock`.
    """

    def __init__(self) -> None:
        super().__init__()
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
            await super().__aenter__()
            return
        self._waiting.append(watcher)
        try:
            await super().__aenter__()
        finally:
            self._waiting.remove(watcher)
        self.watcher = watcher
        watcher.began()

    async def __aexit__(self, *_: object) -> None:
        """Give it to the next, or to the heir."""
        self.watcher = None
        heir, self._heir = self._heir, None
        if heir is None:
            self.release()
        else:
            heir.add_done_callback(lambda _: self.release())


def _refusal(fault: str) -> BackendUnavailable:
    return BackendUnavailable(f"the journal cannot be written: {fault}; nothing was acknowledged")
