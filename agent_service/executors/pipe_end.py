"""One end of a pipe for an event loop, which closes it once, whichever loop it is."""

from __future__ import annotations

import asyncio
import os


class PipeEnd:
    """What `loop.connect_read_pipe` and `loop.connect_write_pipe` are given; make it on the event loop.

    uvloop closes the descriptor itself, and then calls `close` of the object that it was given. By then the number may
    be another's: a file that a thread has just opened, or a connection. asyncio's own loop leaves it to `close`.

    Parameters
    ----------
    number
        A descriptor, which belongs to this object from here on.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._loop_closes = type(asyncio.get_running_loop()).__module__.partition(".")[0] == "uvloop"

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._number

    def close(self) -> None:
        """Close it, where the loop does not."""
        if not self._loop_closes:
            self.abandon()

    def abandon(self) -> None:
        """Close it, as no loop has taken it; harmless the second time."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)
