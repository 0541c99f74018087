"""One condition without which nothing is measured: what its signals say, and since when it is lost or met.

What is not known is not met: a signal that is not connected, does not answer, or says what no rule can judge. A loss
begins when the signal says that it did, where that can be: after it was last known to be met, and before it was heard.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agent_service.models import ConditionState, ConditionStatus, SignalValue
from agent_service.models.condition_rules import parse_condition
from agent_service.models.guardrail_rules import shown
from agent_service.protocols import SignalReading

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

    from agent_service.agents.losses import Losses
    from agent_service.models import ConditionSpec

SILENT_AFTER_S: Final = 5.0
"""A signal that was not heard of for longer is not known."""


class Condition:
    """One condition; belongs to the event loop.

    ``note(state, at, reason)`` is called when it is lost and when it is met again; ``losses`` is its own from here on.
    """

    def __init__(
        self,
        name: str,
        spec: ConditionSpec,
        losses: Losses,
        *,
        loop: AbstractEventLoop,
        note: Callable[[ConditionState, float, str], None],
    ) -> None:
        self.name = name
        self.spec = spec
        self.losses = losses
        self.signals = spec.signals
        self._rule, self._resume = map(parse_condition, spec.texts)
        self._loop = loop
        self._note = note
        self._readings: dict[str, SignalReading] = {}
        self._known_at: dict[str, float] = {}  # until when a signal is known to have let the rule hold
        self._settling: TimerHandle | None = None

    # what it is ---------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ConditionState:
        """Whether it is met."""
        if self.losses.off_by is not None:
            return ConditionState.OFF
        if self.losses.current is None:
            return ConditionState.MET
        return ConditionState.LOST if self._settling is None else ConditionState.SETTLING

    @property
    def text(self) -> str:
        """What a person reads of it, as it is now."""
        match self.state:
            case ConditionState.OFF:
                by = self.losses.off_by
                return f"{self.name} is switched off{f' by {by}' if by else ''}: what is measured counts without it"
            case ConditionState.LOST:
                return self._why_not() or f"{self.name} is not met"
            case ConditionState.SETTLING:
                return f"{self._values()}, and has to stay so for {self.spec.settle_s:g} s"
            case _:
                return self._values()

    @property
    def unmet(self) -> bool:
        """Whether it keeps agents from measuring now."""
        return self.losses.off_by is None and self.losses.current is not None

    def status(self) -> ConditionStatus:
        """Return it as the API shows it."""
        current = self.losses.current
        last = self.losses.intervals[-1] if self.losses.intervals else None
        since = current.begin if current is not None else (last.end if last is not None else None)
        rule, resume = self.spec.texts
        return ConditionStatus(
            name=self.name,
            state=self.state,
            text=self.text,
            since=None if since is None else datetime.fromtimestamp(since, UTC),
            rule=rule,
            resume=resume,
            settle_s=self.spec.settle_s,
            stale_after_s=self.spec.stale_after_s,
            signals=[_shown(name, self._readings.get(name)) for name in self.signals],
            losses=len(self.losses.intervals),
        )

    def heard_since(self, at: float) -> bool:
        """Return whether each signal has answered what was asked after ``at``; not waited for while it is unmet."""
        if self.losses.off_by is not None or self.losses.current is not None:
            return True
        readings = [self._readings.get(name) for name in self.signals]
        return all(one is not None and one.asked_at is not None and one.asked_at >= at for one in readings)

    # what happens to it -------------------------------------------------------------------------------------------

    def begin(self, at: float, reason: str) -> None:
        """Count as lost since ``at``, when the service begins: nobody has watched it."""
        if self.losses.off_by is None and self.losses.current is None:
            self._lose(at, reason)

    def take(self, signal: str, reading: SignalReading) -> None:
        """Take in what a signal said."""
        before = self._readings.get(signal)
        if before is not None and reading.arrived_at < before.arrived_at:
            if before.arrived_at - reading.arrived_at < SILENT_AFTER_S:
                return  # it waited while a later one was heard
            self._follow_clock(reading.arrived_at)
        self._readings[signal] = reading
        known_at = self._known_at.get(signal)
        if why := self._why_not():
            self._stop_settling()
            earliest = reading.arrived_at if known_at is None else known_at
            in_order = reading.value is not None and earliest <= reading.at <= reading.arrived_at
            if self.losses.current is None:
                self._lose(reading.at if in_order else earliest, why)
            return
        silent = known_at is not None and reading.arrived_at - known_at > 2 * SILENT_AFTER_S
        if known_at is not None and silent and self.losses.current is None:  # the process stood still, for example
            self._lose(known_at, f"nobody heard of {signal} for {reading.arrived_at - known_at:.0f} s")
        if reading.asked_at is not None:
            self._known_at[signal] = max(reading.asked_at, known_at or 0.0)
        elif reading.at <= reading.arrived_at:
            self._known_at[signal] = max(reading.at, known_at or 0.0)
        if self.losses.current is not None and self._settling is None:
            self._settling = self._loop.call_later(self.spec.settle_s, self._settle)

    def _follow_clock(self, now: float) -> None:
        """Begin anew when the clock of this machine was set back: what was known is of times that are yet to come."""
        self._known_at.clear()
        self._stop_settling()
        if self.losses.current is None:
            self._lose(now - SILENT_AFTER_S, "the clock of this machine was set back")
        else:  # it began by then, whatever the clock said
            self.losses.begin(now - SILENT_AFTER_S, "")

    def look(self, now: float) -> None:
        """Count a signal that has been silent for too long as one that does not answer."""
        for name in self.signals:
            reading = self._readings.get(name)
            if reading is not None and now - reading.arrived_at > SILENT_AFTER_S:
                silent = f"it has not answered for {now - reading.arrived_at:.0f} s"
                self.take(name, SignalReading(None, now, now, units=reading.units, fault=silent))

    def switched(self, *, off_by: str | None) -> None:
        """Count no more, or again: as the signals are now."""
        self._stop_settling()
        now = time.time()
        self.losses.off_by = off_by
        if off_by is not None:
            self.losses.end(now)
        elif (why := self._why_not()) or not self._readings:
            self._lose(now, why)
        self._known_at.clear()  # nobody looked at it meanwhile

    def stop(self) -> None:
        """Let nothing more happen."""
        self._stop_settling()

    def _settle(self) -> None:
        self._settling = None
        now = time.time()
        self.losses.end(now)
        self._note(ConditionState.MET, now, self._values())

    def _lose(self, at: float, reason: str) -> None:
        if self.losses.off_by is not None:
            return
        self.losses.begin(at, reason)
        self._note(ConditionState.LOST, at, reason)

    def _stop_settling(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    def _why_not(self) -> str:
        """Return why it is not met, by what the signals said last; an empty text when it is."""
        readings = {name: self._readings.get(name) for name in self.signals}
        for name, reading in readings.items():
            if reading is None:
                return f"nothing was heard of {name} yet"
            if reading.value is None:
                return f"{name} is not known: {reading.fault or 'it has no value'}"
        values = {name: one.value for name, one in readings.items() if one is not None and one.value is not None}
        rule = self._rule if self.losses.current is None else self._resume
        return "" if rule.holds(values) else f"{self._values()}, needs {rule.needs}"

    def _values(self) -> str:
        said = (_shown(name, self._readings.get(name)) for name in self.signals)
        return ", ".join(f"{one.signal} {_value(one)}" for one in said)


def _value(one: SignalValue) -> str:
    if one.value is None:
        return "unknown"
    value = one.value if isinstance(one.value, str) else shown(float(f"{one.value:.6g}"))
    return f"{value} {one.units}".rstrip()


def _shown(name: str, reading: SignalReading | None) -> SignalValue:
    if reading is None:
        return SignalValue(signal=name)
    heard = datetime.fromtimestamp(reading.arrived_at, UTC)
    return SignalValue(signal=name, value=reading.value, units=reading.units, at=heard, fault=reading.fault or None)
