"""What handles on hosted objects share: one call at a time, in order, each with a deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent_service.errors import AgentFault, DeadlineExceeded
from agent_service.executors.faults import as_faults
from agent_service.models import utcnow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime


class Handle:
    """A handle on an object that lives somewhere else; belongs to one event loop. See `protocols.BrainHandle`.

    Parameters
    ----------
    name
        The agent's name, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._busy: tuple[str, datetime] | None = None
        self._present: asyncio.Future[Any] | None = None
        self._dead: AgentFault | None = None
        self.died: asyncio.Future[AgentFault] = self._loop.create_future()

    @property
    def busy(self) -> tuple[str, datetime] | None:
        """The call it is in and since when, or None."""
        return self._busy

    async def close(self) -> None:
        """Discard the object; a call under way raises `AgentFault` at its caller. Returns at once."""
        self._end(AgentFault(f"agent {self._name!r} was stopped during the call"))

    async def _do(
        self, method: str, begin: Callable[[asyncio.Future[Any]], Awaitable[None] | None], timeout_s: float
    ) -> Any:
        """Begin a call when its turn comes, and return what its future gets.

        An error that is not the agent's own (its process ended, the connection broke, no descriptor is left) is the end
        of the handle: nobody knows what became of the call.
        """
        async with self._turn:
            if self._dead is not None:
                raise AgentFault(self._dead.detail, traceback=self._dead.traceback, died=self._dead.died)
            self._busy = (method, utcnow())
            self._present = self._loop.create_future()
            try:
                with as_faults(self._name):
                    return await self._within(timeout_s, method, begin, self._present)
            except asyncio.CancelledError:
                self._abandon(method)
                raise
            except AgentFault as error:
                if error.died:
                    self._lose(error)
                raise
            finally:
                self._busy = None
                self._present = None

    async def _within(
        self,
        timeout_s: float,
        method: str,
        begin: Callable[[asyncio.Future[Any]], Awaitable[None] | None],
        present: asyncio.Future[Any],
    ) -> Any:
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                if (beginning := begin(present)) is not None:
                    await beginning
                return await present
        except TimeoutError:
            if not deadline.expired():  # the system's: a connection timed out
                raise
            left_behind = self._left_behind()
            self._abandon(method)
            raise DeadlineExceeded(
                f"agent {self._name!r} did not end {method} within {timeout_s:g} s; it was abandoned: restart it, "
                f"or allow more in timeouts{left_behind}"
            ) from None

    def _abandon(self, method: str) -> None:
        self._end(AgentFault(f"agent {self._name!r} was abandoned in {method}; restart it"))

    def _lose(self, why: AgentFault) -> None:
        """Be dead because what hosts the object is lost; tell who waits for that."""
        self._end(why)
        if not self.died.done():
            self.died.set_result(why)

    def _end(self, why: AgentFault) -> None:
        """Be dead from here on: the call under way, if any, and all later ones raise ``why``."""
        if self._dead is None:
            self._dead = why
            self._discard()
        if self._present is not None and not self._present.done():
            self._present.set_exception(self._dead)
            self._present.exception()  # nobody may be waiting any more

    def _left_behind(self) -> str:
        """Return what to say of what goes on after the call under way is abandoned."""
        return ""

    def _discard(self) -> None:
        """Let go of the object, whatever it is doing; called once."""
        raise NotImplementedError
