"""Looks after what waits at the document gate: runs to be completed from a catalogue, ended, or given up."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from agent_service.documents.gate import DocumentGate
from agent_service.models import SourceState, SuspectRun, utcnow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from agent_service.documents.intake import DocumentIntake
    from agent_service.documents.sources.heard import HeardSource
    from agent_service.protocols import Completer

LOOKS_EVERY_S: Final = 0.5
"""How often it looks."""

STRAYS_LAST_S: Final = 60.0
"""How long a document is kept of whose run nothing else ever came."""

GIVES_UP_AFTER_S: Final = 60.0
"""How long a run that is not whole waits for its documents; where a catalogue may have them, `CATALOGUE_LAGS_S`."""

CATALOGUE_LAGS_S: Final = 600.0
"""How long a catalogue that is there may take until it has a run."""

ANSWERS_WITHIN_S: Final = 15.0
"""How long a catalogue is waited for when somebody asks at once."""

FOLLOWS_WITHIN_S: Final = 30.0
"""How long a source that was away may take until it has said what it missed."""

QUIET_S: Final = 10.0
"""How long nothing comes of an open run before a catalogue is asked whether it has ended."""

MOST_SHOWN: Final = 20
"""Most suspect runs that the status shows."""


class GateWatch:
    """A task on the event loop, from `start` to `stop`.

    Parameters
    ----------
    intake
        The intake whose gate it looks after.
    sources
        All sources.
    completers
        Those of them that can give runs again.
    suggestions
        Returns the suggestions whose runs are awaited.
    on_change
        Called when a source is there or away, and when a run becomes suspect or is no more.
    """

    def __init__(
        self,
        intake: DocumentIntake,
        sources: Sequence[HeardSource],
        completers: Sequence[Completer],
        *,
        suggestions: Callable[[], Collection[str]],
        on_change: Callable[[], None],
    ) -> None:
        self._intake = intake
        self._sources = sources
        self._completers = completers
        self._suggestions = suggestions
        self._on_change = on_change
        self._shown: object = None
        self._there: set[tuple[int, datetime]] = set()
        self._strays_due = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if there is anything to look after: a source that hears another machine."""
        if any(heard.elsewhere for heard in self._sources):
            self._task = asyncio.create_task(self._watch(), name="gate-watch")

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    def suspects(self) -> list[SuspectRun]:
        """Return the runs that are suspect, the oldest first."""
        now = time.monotonic()
        suspects = sorted(self._intake.gate.suspects.items(), key=lambda item: item[1].since)
        return [
            SuspectRun(uid=uid, suggestion_id=run.suggestion_id, reason=run.reason, for_s=round(now - run.since, 1))
            for uid, run in suspects
        ]

    def may_come(self, suggestion_id: str) -> str:
        """Return why documents of a suggestion's run may come still, empty if not.

        Its run is suspect, or a source is away, or was until a moment ago.
        """
        for suspect in list(self._intake.gate.suspects.values()):
            if suspect.suggestion_id == suggestion_id:
                return suspect.reason
        for status in [heard.status for heard in self._sources if heard.elsewhere]:
            if status.state is not SourceState.CONNECTED:
                return f"{status.kind} is away: {status.reason}"
            if (utcnow() - status.since).total_seconds() < FOLLOWS_WITHIN_S:
                return f"{status.kind} was away until a moment ago"
        return ""

    async def ask_catalogues(self) -> None:
        """Return when the catalogues were asked for what is awaited, and what they have was heard; or after a while."""
        self._look()
        asked = [(completer, completer.look_now()) for completer in self._completers]
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while time.monotonic() < deadline:
            if all(completer.answered >= ticket for completer, ticket in asked) and not self._intake.backlog:
                return
            await asyncio.sleep(LOOKS_EVERY_S / 10)

    async def _watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(LOOKS_EVERY_S)

    def _look(self) -> None:
        gate, now = self._intake.gate, time.monotonic()
        suspects = dict(gate.suspects)
        self._intake.in_turn(DocumentGate.settle)
        if now >= self._strays_due:  # it looks at all that waits
            self._strays_due = now + STRAYS_LAST_S / 4
            self._intake.in_turn(lambda gate: gate.leave_out_older(STRAYS_LAST_S))
        lasts_s = CATALOGUE_LAGS_S if self._completers else GIVES_UP_AFTER_S
        is_there = all(completer.status.state is SourceState.CONNECTED for completer in self._completers)
        for uid, suspect in suspects.items():
            if is_there and now - suspect.since > lasts_s:
                self._intake.in_turn(partial(DocumentGate.give_up, run=uid))
        there, before = self._connected(), self._there
        self._there = there
        for completer in self._completers:  # of what a bus said while it was away nobody heard: that is asked for now
            completer.look_for({*suspects, *gate.quiet(QUIET_S)}, self._suggestions(), at_once=bool(there - before))
        shown = [(heard.status.state, heard.status.reason) for heard in self._sources], sorted(suspects)
        if shown != self._shown:
            self._shown = shown
            self._on_change()

    def _connected(self) -> set[tuple[int, datetime]]:
        """Return which sources are there, and since when."""
        states = [(place, heard.status) for place, heard in enumerate(self._sources) if heard.elsewhere]
        return {(place, status.since) for place, status in states if status.state is SourceState.CONNECTED}
