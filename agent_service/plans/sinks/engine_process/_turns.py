"""Which plans have begun, and which were taken back: a small file that both processes have open.

It answers at once and outlives either of them. A plan begins when its number is written here and it was not taken back
before; it is taken back when that is written here and it had not begun before. Each writes first and looks second, so
both may see the other and the plan does not begin; they never both go on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

_NUMBER: Final = struct.Struct("<Q")
_SLOTS: Final = 1 << 14
"""Most plans that wait at a time, of which it can be said that they were taken back."""


class TurnFile:
    """Numbers of plans, which begin in the order of their numbers; from any thread of either process."""

    def __init__(self, path: Path) -> None:
        self._last: int | None = None  # when closed
        self._begun: int | None = None  # here, and nowhere else
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with contextlib.suppress(OSError):  # its space now, for the disk may be full when a plan is taken back
            os.posix_fallocate(self._file, 0, (1 + _SLOTS) * _NUMBER.size)

    @property
    def last(self) -> int:
        """The number of the plan that began last."""
        if self._begun is not None:  # in the child, which lets go of the interpreter for each look at a file
            return self._begun
        return self._read(0) if self._last is None else self._last

    @property
    def highest(self) -> int:
        """The highest number that was ever written here, which a new plan's is to be above."""
        numbers = os.pread(self._file, (1 + _SLOTS) * _NUMBER.size, 0)
        return max((number for (number,) in _NUMBER.iter_unpack(numbers)), default=0)

    def take(self, number: int) -> bool:
        """Begin a plan, in the child; return whether it may: it was not taken back."""
        self._write(0, number)
        self._begun = number
        return self._read(self._slot(number)) != number

    def take_back(self, number: int) -> bool:
        """Take a plan back, in the service; return whether that was in time: else it has begun, or is about to.

        One that cannot be taken back for the disk is full counts as one that is about to begin.
        """
        if self._last is None:
            try:
                self._write(self._slot(number), number)
            except OSError as error:
                _log.error("plan %d could not be taken back: %s", number, error.strerror)
                return False
        return self.last < number

    def close(self) -> None:
        """Close the file; what was the last stays known."""
        if self._last is None:
            self._last = self.last
            os.close(self._file)

    def _slot(self, number: int) -> int:
        return 1 + number % _SLOTS

    def _read(self, place: int) -> int:
        packed = os.pread(self._file, _NUMBER.size, place * _NUMBER.size)
        return _NUMBER.unpack(packed)[0] if len(packed) == _NUMBER.size else 0

    def _write(self, place: int, number: int) -> None:
        os.pwrite(self._file, _NUMBER.pack(number), place * _NUMBER.size)
