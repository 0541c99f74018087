"""The signals that the service has watched in the child, for its conditions; the next service hears what they said."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.protocols import SignalReading, Signals, SignalWatch

_KEPT: Final = 50_000
"""How many readings of a signal are kept: half a day of one that changes once a second, and is asked as often."""


class SignalWatches:
    """Watches signals from the first time on, whether there is a service or not; belongs to the child's event loop.

    ``say`` says something to the service, from any thread.
    """

    def __init__(self, signals: Signals, say: Callable[..., None]) -> None:
        self._signals = signals
        self._say = say
        self._watches: dict[str, SignalWatch] = {}
        self._kept: dict[str, deque[SignalReading]] = {}
        self._heard_by: set[str] = set()  # the signals that the service that is there has asked for
        self._lock = threading.Lock()

    def check(self, name: str) -> None:
        """Raise `UnknownDevice` unless there is a signal of that name; from any thread."""
        self._signals.check(name)

    def watch(self, name: str, since: float | None = None) -> None:
        """Watch a signal, or ask one that is watched; say first what it said after ``since``."""
        with self._lock:  # what it says from here on comes behind what is kept
            self._heard_by.add(name)
            if since is not None:
                kept = self._kept.get(name, ())
                self._say(*(("reading", name, reading) for reading in kept if reading.arrived_at > since))
        if (watch := self._watches.get(name)) is not None:
            watch.ask()
            return
        kept = self._kept[name] = deque(maxlen=_KEPT)
        self._watches[name] = self._signals.watch(name, partial(self._tell, name, kept))

    def leave_service(self) -> None:
        """Say nothing more until a service asks again."""
        with self._lock:
            self._heard_by.clear()

    def _tell(self, name: str, kept: deque[SignalReading], reading: SignalReading) -> None:
        with self._lock:
            kept.append(reading)
            if name in self._heard_by:
                self._say(("reading", name, reading))
