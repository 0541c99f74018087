"""Watches the conditions for a measurement while the service runs, and says whether runs count.

Only this module owns their state. A loss holds the agents at once, and is written later, in order. Time that nobody
watched counts as lost; a RunEngine's process watches while the service is away. A run that overlaps a loss does not
count.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from agent_service import context
from agent_service.agents.condition import Condition
from agent_service.agents.losses import Losses
from agent_service.errors import BackendUnavailable, Conflict, NotFound, texts
from agent_service.models import ConditionState, EventKind
from agent_service.models.real_numbers import real
from agent_service.models.spelling import near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from agent_service.agents.record.agent import AgentRecord
    from agent_service.documents.runs import Run
    from agent_service.journal import JournalLog
    from agent_service.models import ConditionSpec, ConditionStatus, Suggestion
    from agent_service.protocols import SignalReading, Signals, SignalWatch

_LOOKS_EVERY_S: Final = 1.0
_LATE_S: Final = 3.0
"""A look that is as late as this says that this process was busy itself."""

_ON_ITS_WAY_S: Final = 2.0
"""How long before the last fact of a service that was killed a loss may have begun that it did not hear of."""

_log = logging.getLogger(__name__)


class Conditions:
    """All conditions of a service; belongs to the event loop.

    ``on_change`` is called when `unmet` may be another, and the agents are to look again.
    """

    def __init__(
        self,
        specs: Mapping[str, ConditionSpec],
        signals: Signals | None,
        *,
        journal: JournalLog,
        on_change: Callable[[], None],
    ) -> None:
        self._specs = dict(specs)
        self._signals = signals
        self._journal = journal
        self._on_change = on_change
        self._conditions: dict[str, Condition] = {}
        self._watches: list[SignalWatch] = []
        self._looking: asyncio.TimerHandle | None = None
        self._heard = asyncio.Event()
        self._told = ""
        self._looked_at = time.monotonic()
        self._service = contextvars.Context()
        self._service.run(context.enter_background)

    def start(self, before: Mapping[str, Losses], *, known_until: datetime | None) -> None:
        """Begin to watch; call it once, after the fold.

        ``before`` are the losses that the journal tells of, by condition; ``known_until`` is the time of its last fact.
        """
        loop = asyncio.get_running_loop()
        now = time.time()
        since = None if known_until is None else known_until.timestamp() - _ON_ITS_WAY_S
        for name, spec in self._specs.items():
            known = None if known_until is None else before.get(name)
            losses = Losses() if known is None else Losses.from_json(known.as_json())
            condition = Condition(name, spec, losses, loop=loop, note=partial(self._note, name))
            self._conditions[name] = condition
            if known is None or since is None:
                condition.begin(now, "not heard of yet")
            else:
                condition.go_on(since)
            if losses.off_by is not None:
                _log.warning("condition %s", condition.text)
        if self._signals is not None:
            for signal in dict.fromkeys(name for condition in self._conditions.values() for name in condition.signals):
                self._watches.append(self._signals.watch(signal, partial(self._hear, loop, signal), since=since))
        if self._conditions:
            self._look()

    def stop(self) -> None:
        """Watch nothing more."""
        for watch in self._watches:
            watch.stop()
        self._watches.clear()
        for condition in self._conditions.values():
            condition.stop()
        if self._looking is not None:
            self._looking.cancel()

    # what they are ------------------------------------------------------------------------------------------------

    @property
    def unmet(self) -> str | None:
        """What keeps the agents from measuring, for a person; None when nothing does."""
        return "; ".join(condition.text for condition in self._conditions.values() if condition.unmet) or None

    def statuses(self) -> list[ConditionStatus]:
        """Return each as the API shows it."""
        return [condition.status() for condition in self._conditions.values()]

    def refuse_unmet(self, advice: str) -> None:
        """Raise `Conflict`, saying why and what to do, while one is not met."""
        if unmet := self.unmet:
            raise Conflict(f"{unmet}; {advice}")

    async def void(self, spans: Iterable[tuple[float, float]]) -> str:
        """Return why what was measured in these times does not count; an empty text when it does.

        Each signal is asked once more before the answer: a loss may be on its way still.
        """
        if not self._conditions:
            return ""
        asked_at = time.time()
        for watch in self._watches:
            watch.ask()
        while not all(condition.heard_since(asked_at) for condition in self._conditions.values()):
            self._heard.clear()
            await self._heard.wait()
        return self.known_void(spans)

    def known_void(self, spans: Iterable[tuple[float, float]]) -> str:
        """Do what `void` does by what is known now."""
        for start, stop in spans:
            for condition in self._conditions.values():
                if (loss := condition.losses.overlapping(start, stop)) is not None:
                    return f"void, for {condition.name} was not met while it was measured: {loss.reason}"
        return ""

    def stale(self, suggestion: Suggestion, record: AgentRecord) -> str:
        """Return why a suggestion of the loop's that waits is not to be measured any more; an empty text when it is.

        What a person asked for or approved waits as long as it takes.
        """
        if record.proposed_by[suggestion.id] != "loop" or suggestion.id in record.approved_by_person:
            return ""
        created_at = suggestion.created_at.timestamp()
        for condition in self._conditions.values():
            longest = condition.spec.stale_after_s
            loss = None if longest is None else condition.losses.last_longer_than(longest)
            if loss is not None and loss.end is not None and created_at < loss.end:
                lasted_s = loss.end - loss.begin
                return f"stale: {condition.name} was not met for {lasted_s:.0f} s meanwhile; the agent is asked anew"
        return ""

    # what is done about them --------------------------------------------------------------------------------------

    async def switch(self, name: str, *, on: bool, reason: str = "") -> ConditionStatus:
        """Let a condition count again, or no more until somebody switches it on; this is written first.

        Raises
        ------
        NotFound
            There is no such condition.
        """
        condition = self._conditions.get(name)
        if condition is None:
            there = f"there are {', '.join(self._conditions)}" if self._conditions else "[conditions] names none"
            raise NotFound(f"there is no condition {name!r}; {near(name, self._conditions)}{there}")
        if on is not (condition.state is ConditionState.OFF):
            return condition.status()
        who = context.person()
        why = texts.one_line(f"switched {'on' if on else 'off'} by {who}{f': {reason}' if reason else ''}")
        fact = {"condition": name, "state": "on" if on else "off", "at": time.time(), "reason": why, "who": who}
        await self._journal.append(EventKind.CONDITION_STATE, None, fact)
        condition.switched(off_by=None if on else who)
        _log.warning("condition %s was %s", name, why)
        self._changed()
        return condition.status()

    # how ----------------------------------------------------------------------------------------------------------

    def _hear(self, loop: asyncio.AbstractEventLoop, signal: str, reading: SignalReading) -> None:
        """Bring what a signal says, in whatever thread, to the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(self._on_reading, signal, reading)

    def _on_reading(self, signal: str, reading: SignalReading) -> None:
        for condition in self._conditions.values():
            if signal in condition.signals:
                condition.on_reading(signal, reading)
        self._heard.set()
        if reading.asked_at is not None and self._told and self._told != self.unmet:  # a person sees the value
            self._changed()

    def _look(self) -> None:
        looked_at, self._looked_at = self._looked_at, time.monotonic()
        if self._looked_at < looked_at + _LATE_S:  # else what waits to be heard here is heard first
            now = time.time()
            for condition in self._conditions.values():
                condition.look(now)
            if (self.unmet or "") != self._told:
                self._changed()
        self._heard.set()
        self._looking = asyncio.get_running_loop().call_later(_LOOKS_EVERY_S, self._look)

    def _note(self, name: str, state: ConditionState, at: float, reason: str) -> None:
        """Let the agents know, and write it behind: a loss is not waited with for a full disk."""
        if state is ConditionState.LOST:
            _log.warning("condition %s is not met: %s", name, reason)
        else:
            _log.info("condition %s is met again: %s", name, reason)
        fact = {"condition": name, "state": str(state), "at": at, "reason": reason}
        with contextlib.suppress(BackendUnavailable):  # the service ends; its next start counts this time as lost
            written = self._service.run(self._journal.post, EventKind.CONDITION_STATE, None, fact)
            written.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._changed()

    def _changed(self) -> None:
        self._told = self.unmet or ""
        self._heard.set()
        self._on_change()


def spans_of(runs: Sequence[Run]) -> list[tuple[float, float]]:
    """Return when runs were measured, in seconds since 1970; of one that does not say it, any time."""
    spans: list[tuple[float, float]] = []
    for run in runs:
        start, stop = real(run.start.get("time")), real((run.stop or {}).get("time"))
        spans.append((0.0 if start is None else float(start), time.time() if stop is None else float(stop)))
    return spans
