"""One condition for a measurement: the values of its signals, and since when it is lost or met.

An unknown condition is not met: a signal is not connected, does not answer, or has a value that no rule can judge. A
loss begins at the signal's own time for it, if that lies between the last time it was known to be met and its arrival.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent_service.agents.silent_signals import SILENT_AFTER_S, Hearing
from agent_service.models import ConditionState, ConditionStatus, SignalValue
from agent_service.models.condition_rules import parse_condition
from agent_service.models.guardrail_rules import shown
from agent_service.protocols import SignalReading

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

    from agent_service.agents.losses import Losses
    from agent_service.models import ConditionSpec


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
        self._hearing = Hearing(spec.signals)
        self._settling: TimerHandle | None = None

    # what it is ---------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ConditionState:
        """Whether it is met."""
        if self.losses.off_by is not None:
            return ConditionState.OFF
        if self.losses.current is None:
            return ConditionState.SILENT if self._hearing.silent else ConditionState.MET
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
            case ConditionState.SILENT:
                return self._hearing.text
            case ConditionState.SETTLING:
                return f"{self._values()}, and has to stay so for {self.spec.settle_s:g} s"
            case _:
                return self._values()

    @property
    def unmet(self) -> bool:
        """Whether it keeps agents from measuring now."""
        return self.state in (ConditionState.SILENT, ConditionState.LOST, ConditionState.SETTLING)

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
        if self._hearing.silent:
            return False
        readings = [self._readings.get(name) for name in self.signals]
        return all(signal is not None and signal.asked_at is not None and signal.asked_at >= at for signal in readings)

    # what happens to it -------------------------------------------------------------------------------------------

    def begin(self, at: float, reason: str) -> None:
        """Count as lost since ``at``, when the service begins: nobody has watched it."""
        if self.losses.off_by is None and self.losses.current is None:
            self._lose(at, reason)

    def go_on(self, known_at: float) -> None:
        """Go on where the service ended that was there before; its signals say whether it was met meanwhile.

        All up to the end of its last loss is written, also when that was just before ``known_at``.
        """
        if self.losses.off_by is None and self.losses.current is None:
            ends = [loss.end for loss in self.losses.intervals if loss.end is not None]
            self._hearing.go_on(max([known_at, *ends[-1:]]))

    def on_reading(self, signal: str, reading: SignalReading) -> None:
        """Take in what a signal said."""
        before = self._readings.get(signal)
        if before is not None and reading.arrived_at < before.arrived_at:
            if before.arrived_at - reading.arrived_at < SILENT_AFTER_S:
                return  # it waited while a later one was heard
            self._follow_clock(reading.arrived_at)
        self._readings[signal] = reading
        self._hearing.hear(signal)
        known_at = self._hearing.known_at(signal)
        if why := self._why_not():
            self._stop_settling()
            earliest = reading.arrived_at if known_at is None else known_at
            in_order = reading.value is not None and earliest <= reading.at <= reading.arrived_at
            if self.losses.current is None:
                self._lose(reading.at if in_order else earliest, why)
            return
        if self.losses.current is None and known_at is not None:
            if why := self._hearing.gap(signal, reading):
                self._lose(known_at, why)
            elif self._hearing.waits(signal, reading):
                return
        self._hearing.know(signal, reading)
        if self.losses.current is not None and self._settling is None:
            self._settling = self._loop.call_later(self.spec.settle_s, self._settle)

    def _follow_clock(self, now: float) -> None:
        """Begin anew when the clock of this machine was set back: what was known is of times that are yet to come."""
        self._hearing.forget()
        self._stop_settling()
        if self.losses.current is None:
            self._lose(now - SILENT_AFTER_S, "the clock of this machine was set back")
        else:  # it began by then, whatever the clock said
            self.losses.begin(now - SILENT_AFTER_S, "")

    def look(self, now: float) -> None:
        """Note silent signals; one that has been for too long counts as one that does not answer."""
        if self.losses.off_by is not None:
            return
        for name, fault in self._hearing.note_silence(now, self._readings).items():
            before = self._readings.get(name)
            units = "" if before is None else before.units
            self.on_reading(name, SignalReading(None, now, now, units=units, fault=fault))
        if self._hearing.silent:
            self._stop_settling()

    def switched(self, *, off_by: str | None) -> None:
        """Count no more, or again: as the signals are now."""
        self._stop_settling()
        now = time.time()
        self.losses.off_by = off_by
        if off_by is not None:
            self.losses.end(now)
        elif (why := self._why_not()) or not self._readings:
            self._lose(now, why)
        self._hearing.forget()  # nobody looked at it meanwhile

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
        self._hearing.forget_silence()
        self.losses.begin(at, reason)
        self._note(ConditionState.LOST, at, reason)

    def _stop_settling(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    def _why_not(self) -> str:
        """Return why it is not met, by what the signals said last; an empty text when it is."""
        values: dict[str, float | str] = {}
        for name in self.signals:
            reading = self._readings.get(name)
            if reading is None:
                return f"nothing was heard of {name} yet"
            if reading.value is None:
                return f"{name} is not known: {reading.fault or 'it has no value'}"
            values[name] = reading.value
        rule = self._rule if self.losses.current is None else self._resume
        return "" if rule.holds(values) else f"{self._values()}, needs {rule.needs}"

    def _values(self) -> str:
        values = (_shown(name, self._readings.get(name)) for name in self.signals)
        return ", ".join(f"{value.signal} {_value(value)}" for value in values)


def _value(signal: SignalValue) -> str:
    if signal.value is None:
        return "unknown"
    value = signal.value if isinstance(signal.value, str) else shown(float(f"{signal.value:.6g}"))
    return f"{value} {signal.units}".rstrip()


def _shown(name: str, reading: SignalReading | None) -> SignalValue:
    if reading is None:
        return SignalValue(signal=name)
    heard = datetime.fromtimestamp(reading.arrived_at, UTC)
    return SignalValue(signal=name, value=reading.value, units=reading.units, at=heard, fault=reading.fault or None)
