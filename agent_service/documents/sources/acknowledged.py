"""Which messages of a broker are on disk: an offset may be committed when all before it are."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

MOST_UNSTORED: Final = 20_000
"""Most messages that are taken from a broker before the disk has the first of them, as when it is full."""

MOST_UNSTORED_BYTES: Final = 256_000_000
"""Most bytes of them."""


class Acknowledged:
    """Messages of one partition, by their offsets, from where they begin; from any thread.

    Examples
    --------
    >>> kept = Acknowledged(5)
    >>> for offset in (5, 6, 7):
    ...     kept.begin(offset)
    >>> kept.done(6)
    >>> kept.to_commit()
    >>> kept.done(5)
    >>> kept.to_commit()
    7
    """

    def __init__(self, begins_at: int) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, None] = {}
        self._next = begins_at
        self._committed = begins_at

    def begin(self, offset: int) -> None:
        """Note that a message came, and is not on disk yet."""
        with self._lock:
            self._waiting[offset] = None
            self._next = max(self._next, offset + 1)

    def done(self, offset: int) -> None:
        """Note that it is on disk."""
        with self._lock:
            self._waiting.pop(offset, None)

    @property
    def upto(self) -> int:
        """Everything before this offset is on disk."""
        with self._lock:
            return min(self._waiting, default=self._next)

    def to_commit(self) -> int | None:
        """Return the offset to commit, None when that is committed already."""
        upto = self.upto
        return upto if upto > self._committed else None

    def committed(self, upto: int) -> None:
        """Note that it is committed."""
        self._committed = upto


class Unstored:
    """Messages that were handed over and are not on disk yet: there is only so much room for them; from any thread.

    Examples
    --------
    >>> unstored = Unstored()
    >>> unstored.begin("a", 10), unstored.begin("a", 10)
    (True, False)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes: dict[Hashable, int] = {}
        self._bytes = 0

    def begin(self, key: Hashable, size: int) -> bool:
        """Note that a message of so many bytes came; return False for one that waits already."""
        with self._lock:
            if key in self._sizes:
                return False
            self._sizes[key] = size
            self._bytes += size
            return True

    def done(self, key: Hashable) -> None:
        """Note that it is on disk, or is none to be kept."""
        with self._lock:
            self._bytes -= self._sizes.pop(key, 0)

    @property
    def full(self) -> bool:
        """Whether no more are to be taken for now."""
        return len(self._sizes) >= MOST_UNSTORED or self._bytes >= MOST_UNSTORED_BYTES
