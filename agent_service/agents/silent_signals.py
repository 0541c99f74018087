"""Until when the signals of a condition are known, and which of them nothing is heard of.

A signal of which nothing is heard is not lost yet: whoever watches it may be busy, as a process in which a device holds
the interpreter. Nobody measures meanwhile, and what the signal says when it is heard again decides about what was
measured, unless the silence was too long for that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.protocols import SignalReading

SILENT_AFTER_S: Final = 5.0
"""After so long without a word a signal is silent."""

LOST_AFTER_S: Final = 10.0
"""A longer silence counts as a loss."""

LOST_THOUGH_IT_TELLS_S: Final = 60.0
"""As before, of a signal that tells each change by itself: its changes wait for whoever watches it, a while."""

CATCHES_UP_S: Final = 1.0
"""How long after a silence what waited may take to be heard."""


class Hearing:
    """What was heard of signals, and when; times are in seconds since 1970. Belongs to the event loop."""

    def __init__(self, signals: Sequence[str]) -> None:
        self._signals = signals
        self._known_at: dict[str, float] = {}  # until when each is known to have let the rule hold
        self._heard_at: dict[str, float] = {}  # when something of it was heard here
        self._silent: set[str] = set()
        self._back_at: dict[str, float] = {}  # when one was heard again after a silence
        self._before: set[str] = set()  # those that are known from the life of the service before

    @property
    def silent(self) -> bool:
        """Whether nothing was heard of a signal for a while, or not yet what waited meanwhile."""
        return bool(self._silent)

    @property
    def text(self) -> str:
        """Which are silent, and for how long."""
        now = time.time()
        silent_s = max((now - self._known_at.get(name, now) for name in self._silent), default=0.0)
        return f"nothing was heard of {' and '.join(sorted(self._silent))} for {silent_s:.0f} s"

    def go_on(self, known_at: float) -> None:
        """Take each as known until ``known_at``, in the life of the service before; it was silent since."""
        self._known_at = dict.fromkeys(self._signals, known_at)
        self._heard_at = dict.fromkeys(self._signals, time.time())
        self._silent, self._before = set(self._signals), set(self._signals)

    def forget_silence(self) -> None:
        """Note that a loss begins, or that nobody asks about one."""
        for kept in (self._silent, self._back_at, self._before):
            kept.clear()

    def forget(self) -> None:
        """Note that nothing is known of any."""
        self._known_at.clear()
        self.forget_silence()

    def known_at(self, signal: str) -> float | None:
        """Return until when a signal is known to have let the rule hold."""
        return self._known_at.get(signal)

    def hear(self, signal: str) -> None:
        """Note that something of a signal is heard."""
        self._heard_at[signal] = time.time()

    def gap(self, signal: str, reading: SignalReading) -> str:
        """Return why nobody can say that the rule held from when it was known until a reading; empty when it did."""
        known_at = self._known_at.get(signal)
        if known_at is None or reading.arrived_at <= known_at:  # it was heard in the life of the service before
            return ""
        if signal in self._before and (reading.watched_since is None or reading.watched_since > known_at):
            return "nobody watched it while the service was not there"
        silent_s = reading.arrived_at - known_at
        if signal not in self._back_at and silent_s > _lost_after_s(reading):
            return f"nobody heard of {signal} for {silent_s:.0f} s"
        return ""

    def waits(self, signal: str, reading: SignalReading) -> bool:
        """Return whether a signal was silent until now, and may have more to say of that time."""
        back_at = self._back_at.get(signal)
        if back_at is not None:
            return reading.asked_at is None or reading.asked_at < back_at + CATCHES_UP_S
        if reading.arrived_at - self._known_at.get(signal, reading.arrived_at) <= SILENT_AFTER_S:
            return False
        self._silent.add(signal)
        self._back_at[signal] = reading.arrived_at
        return True

    def know(self, signal: str, reading: SignalReading) -> None:
        """Note that a reading lets the rule hold, and that it did since it was known."""
        known_at = self._known_at.get(signal, 0.0)
        if reading.asked_at is not None:
            self._known_at[signal] = max(reading.asked_at, known_at)
            self._back_at.pop(signal, None)
            if reading.arrived_at > known_at:
                self._before.discard(signal)
            if time.time() - reading.arrived_at <= SILENT_AFTER_S:  # else there is more to come
                self._silent.discard(signal)
        elif reading.at <= reading.arrived_at:
            self._known_at[signal] = max(reading.at, known_at)

    def note_silence(self, now: float, readings: dict[str, SignalReading]) -> dict[str, str]:
        """Note which are silent; return those that have been for so long that they are lost, and how that is said."""
        lost: dict[str, str] = {}
        for name in self._signals:
            silent_s = now - self._heard_at.get(name, now)
            if silent_s > _lost_after_s(readings.get(name)):
                lost[name] = f"it has not answered for {silent_s:.0f} s"
            elif silent_s > SILENT_AFTER_S:
                self._silent.add(name)
        return lost


def _lost_after_s(reading: SignalReading | None) -> float:
    return LOST_THOUGH_IT_TELLS_S if reading is not None and reading.tells_changes else LOST_AFTER_S
