"""How many event streams are open, in all and for each key."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from agent_service.errors import TooMany

if TYPE_CHECKING:
    from collections.abc import Generator

    from agent_service.service.keys import Key


MAX_STREAMS: Final = 256


MAX_STREAMS_OF_KEY: Final = 64


class StreamSlots:
    """How many event streams are open, all and by key: each costs memory and a share of every event."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many are open."""
        return self._open.total()

    @contextlib.contextmanager
    def hold(self, key: Key) -> Generator[None]:
        """Hold a place for a stream, or raise `TooMany`."""
        if self._open[key.name] >= MAX_STREAMS_OF_KEY or self.open >= MAX_STREAMS:
            raise TooMany(
                f"{self._open[key.name]} event streams of the key {key.name!r} are open, and {self.open} of "
                f"all; {MAX_STREAMS_OF_KEY} of a key and {MAX_STREAMS} of all may be: close some, or share one"
            )
        self._open[key.name] += 1
        try:
            yield
        finally:
            self._open[key.name] -= 1
