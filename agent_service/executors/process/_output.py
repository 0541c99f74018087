"""What a child prints, and how it ended: what is left to say of an agent's process."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import texts
from agent_service.executors.notices import MAX_LINES, MAX_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable

_MEMORY_HINT: Final = "kill -9, or the system ran out of memory"
_KEPT_BYTES: Final = 8192
_BREATH_S: Final = 0.02
"""Pause after each piece of what an agent prints: one that prints in a tight loop is slowed, the service is not."""


class ChildOutput(asyncio.Protocol):
    """Hears what a child prints, line by line, and keeps the end of it."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._begun = b""
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._transport: Any = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take a piece, and take breath."""
        self._pieces.append(data)
        self._size += len(data)
        while self._size - len(self._pieces[0]) > _KEPT_BYTES:
            self._size -= len(self._pieces.popleft())
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines[-MAX_LINES:]:
            self._on_line(_text(line[:MAX_MESSAGE]))
        self._begun = self._begun[:MAX_MESSAGE]
        self._transport.pause_reading()
        asyncio.get_running_loop().call_later(_BREATH_S, self._go_on)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        if not self.over.done():
            self.over.set_result(None)

    def text(self) -> str:
        """Return the last of what it printed."""
        return _text(b"".join(self._pieces)[-_KEPT_BYTES:]).strip()

    def close(self) -> None:
        """Listen no longer."""
        if self._transport is not None:
            self._transport.close()

    def _go_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()


def how_it_ended(status: int | None) -> str:
    """Say how a process ended: by its exit code, or minus the signal that killed it."""
    if status is None:
        return "ended; how is not known"
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}" + (f" ({_MEMORY_HINT})" if -status == signal.SIGKILL else "")


def _text(data: bytes) -> str:
    return texts.printable(data.decode("utf-8", "replace"))
