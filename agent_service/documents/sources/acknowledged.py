"""Which messages of a broker are on disk: an offset may be committed when all before it are."""

from __future__ import annotations

import threading


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
