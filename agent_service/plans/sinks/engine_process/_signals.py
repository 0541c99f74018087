"""The signals of the RunEngine's process, as conditions watch them here."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from agent_service.protocols import SignalReading

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agent_service.plans.sinks.engine_process._link import EngineLink


class EngineSignals:
    """Watches signals in the process, and in the next one; belongs to the event loop. See `protocols.Signals`."""

    def __init__(self, link: EngineLink, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._loop = loop
        self._watches: list[EngineWatch] = []

    def check(self, name: str) -> None:
        """Raise `UnknownDevice` unless there is a signal of that name; blocks, so from another thread."""
        self._link.ask("has_signal", name)

    def watch(
        self, name: str, on_reading: Callable[[SignalReading], None], *, since: float | None = None
    ) -> EngineWatch:
        """Begin to watch a signal, or go on where the process watched it while the service was away."""
        watch = EngineWatch(name, on_reading, self._loop, self._ask, self._watches.remove)
        self._watches.append(watch)
        self._link.send(("watch", name, since))
        return watch

    def hear(self, name: str, reading: SignalReading) -> None:
        """Take what a signal said."""
        for watch in self._watches:
            if watch.name == name:
                watch.on_reading(reading)

    def watch_again(self) -> None:
        """Have everything watched by a process that has just come."""
        for name in dict.fromkeys(watch.name for watch in self._watches):
            self._ask(name)

    def lose(self, why: str) -> None:
        """Note that nobody watches: what a signal says is not known."""
        now = time.time()
        for watch in self._watches:
            watch.on_reading(SignalReading(None, now, now, fault=why))

    def _ask(self, name: str) -> None:
        self._link.send(("watch", name))


class EngineWatch:
    """One signal that is watched, until `stop`. See `protocols.SignalWatch`."""

    def __init__(
        self,
        name: str,
        on_reading: Callable[[SignalReading], None],
        loop: asyncio.AbstractEventLoop,
        ask: Callable[[str], None],
        forget: Callable[[EngineWatch], None],
    ) -> None:
        self.name = name
        self.on_reading = on_reading
        self._loop = loop
        self._ask = ask
        self._forget: Callable[[EngineWatch], None] | None = forget

    def ask(self) -> None:
        """Ask the signal now; from any thread."""
        self._loop.call_soon_threadsafe(partial(self._ask, self.name))

    def stop(self) -> None:
        """Watch it no more; the process does until it is let go."""
        forget, self._forget = self._forget, None
        if forget is not None:
            forget(self)
