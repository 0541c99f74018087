"""Receives Ctrl-C and SIGTERM at any moment, in a process that runs people's code in its main thread.

A handler in Python runs in the main thread, when that is free. A main thread that waits for a lock can miss a signal:
the system may deliver it to another thread, or a moment before the wait begins. So a thread reads the numbers that
`signal.set_wakeup_fd` writes to a socket, and whoever waits, waits for that thread.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

HEARD: Final = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Receives SIGINT and SIGTERM while it is open; opened and closed in the main thread.

    ``asked`` is set at the first signal; ``heard`` is called, in its own thread, with the number of signals so far.
    """

    def __init__(self, heard: Callable[[int], None]) -> None:
        self.asked = threading.Event()
        self._heard = heard
        self._raises = False
        self._before: list[tuple[int, object]] = []
        self._reading, self._writing = socket.socketpair()
        self._writing.setblocking(False)
        self._thread = threading.Thread(target=self._listen, name="stop-signals", daemon=True)

    @contextlib.contextmanager
    def interrupting(self) -> Generator[None]:
        """Let the first one raise `KeyboardInterrupt` in the main thread, in the code of this block."""
        self._raises = True
        try:
            if self.asked.is_set():
                raise KeyboardInterrupt
            yield
        finally:
            self._raises = False
            self._take_over()  # from an event loop that the code has used

    def _take_over(self) -> None:
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        for number in HEARD:
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._raises:
            self._raises = False
            self.asked.set()
            raise KeyboardInterrupt

    def _listen(self) -> None:
        count = 0
        while numbers := self._reading.recv(64):
            for _ in (number for number in numbers if number in HEARD):
                count += 1
                self.asked.set()
                self._heard(count)

    def __enter__(self) -> Self:
        self._before = [(number, signal.getsignal(number)) for number in HEARD]
        self._thread.start()
        self._take_over()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before:
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType] - as it was given to us
        self._writing.close()
        self._thread.join()
        self._reading.close()
