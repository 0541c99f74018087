"""A connection between the service and one agent on a worker: messages both ways, in order, and beats between them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import texts

if TYPE_CHECKING:
    from collections.abc import Callable

SESSION: Final = "agent_service_session"
"""Name of the worker's handler that a connection is for."""

_LONGEST_BEAT_S: Final = 2.0

_log = logging.getLogger(__name__)


class Connection:
    """Sends and takes messages over a comm of ``distributed`` until either side hangs up; belongs to one event loop.

    ``on_message`` is called with each message of the other side. ``on_lost`` is called once, with why, when the other
    side hung up, or has not been heard of for ``lost_after_s``; not after `close`. How long that is, is counted in
    beats of this side, so that who was stopped itself for a while does not take the other side for lost.
    """

    def __init__(
        self,
        comm: Any,
        *,
        lost_after_s: float,
        on_message: Callable[[dict[str, Any]], object],
        on_lost: Callable[[str], object],
    ) -> None:
        self.beat: dict[str, Any] = {"kind": "beat"}  # what a beat says
        self._comm = comm
        self._lost_after_s = lost_after_s
        self._on_message = on_message
        self._on_lost = on_lost
        self._unheard = 0  # beats since the last message
        self._to_send: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._closed = False
        self._tasks = [asyncio.create_task(work()) for work in (self._read, self._write, self._beat)]

    def send(self, **message: Any) -> None:
        """Send a message when those before it are sent; nothing once the connection is closed."""
        if not self._closed:
            self._to_send.put_nowait(message)

    def close(self) -> None:
        """Hang up at once. Harmless the second time."""
        self._closed = True
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._comm.abort()

    def _lose(self, why: str) -> None:
        if not self._closed:
            self.close()
            self._on_lost(why)

    async def _read(self) -> None:
        try:
            while True:
                message = await self._comm.read()
                self._unheard = 0
                self._on_message(message)
        except OSError:  # so is a comm that was closed
            self._lose("is gone")
        except Exception as error:  # noqa: BLE001 - somebody else connected here
            _log.warning("what the other side of an agent's connection says makes no sense: %s", texts.describe(error))
            self._lose("says what makes no sense")

    async def _write(self) -> None:
        try:
            while True:
                await self._comm.write(await self._to_send.get())
        except OSError:
            self._lose("is gone")

    async def _beat(self) -> None:
        beat_s = min(_LONGEST_BEAT_S, self._lost_after_s / 4)
        while self._unheard * beat_s < self._lost_after_s:
            await asyncio.sleep(beat_s)
            self._unheard += 1
            if self._to_send.empty():
                self.send(**self.beat)
        self._lose(f"has not been heard of for {self._lost_after_s:g} s")
