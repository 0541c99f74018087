"""The journal's writer: one thread, group commit, and what happens when the store cannot be written.

A fact that cannot be written is refused, or, if it is patient, retried until it can be. A failed batch may have been
written nevertheless, so after a failure the store is read before any fact gets a number.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable
from agent_service.models import Event, EventKind
from agent_service.protocols import FactRow

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from agent_service.protocols import JournalStore, Seqs

RETRY_S: Final = 1.0
"""How often a journal that cannot be written is tried again, and how often one is looked at while there is no fact."""

MOST_AT_ONCE: Final = 1000
"""Facts that share a commit at most, so that none takes long."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A fact on its way to the disk; the writer numbers it."""

    time: datetime
    agent: str | None
    kind: EventKind
    data: dict[str, Any]
    text: str
    patient: bool
    done: asyncio.Future[Event]


@dataclass(frozen=True, slots=True)
class Compaction:
    """A snapshot on its way to the disk, and with it the end of the facts up to ``forget``, which it holds."""

    seq: int
    forget: int
    text: str
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Barrier:
    """Somebody who waits until facts can be written, and no commit is in doubt."""

    done: asyncio.Future[None]


class JournalWriter:
    """Writes in a thread of its own what other threads put into its queue, and closes the store at its end.

    ``seqs`` are where its facts begin and end. ``on_loop(function,
    *args)`` calls a function on the event loop, which owns the futures and what is called there: ``committed(facts,
    events)`` with what was written, before its futures are done; ``fault_changed`` when `fault` did.
    """

    def __init__(
        self,
        store: JournalStore,
        seqs: Seqs,
        *,
        on_loop: Callable[..., None],
        committed: Callable[[Sequence[Pending], Sequence[Event]], None],
        fault_changed: Callable[[], None],
    ) -> None:
        self.last_seq, self.snapshot_seq, self.forgotten_seq = seqs
        self.fault: str | None = None
        self._store = store
        self._on_loop = on_loop
        self._committed = committed
        self._fault_changed = fault_changed
        self._queue: queue.SimpleQueue[tuple[Pending, ...] | Compaction | Barrier | None] = queue.SimpleQueue()
        self._doubtful: list[Pending] = []
        self._thread = threading.Thread(target=self._write_forever, name="journal", daemon=True)
        self._thread.start()

    def put(self, item: tuple[Pending, ...] | Compaction | Barrier) -> None:
        """Queue facts that are to be written in one transaction, or a snapshot, or a barrier; from any thread."""
        self._queue.put(item)

    def close(self, timeout_s: float) -> None:
        """Write what is queued, refuse what cannot be written, and end; blocks."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    # --- in its thread

    def _write_forever(self) -> None:
        waiting: list[Pending] = []
        barriers: list[Barrier] = []
        try:
            while True:
                batch = self._next_batch()
                waiting = self._write([*waiting, *(fact for item in batch if isinstance(item, tuple) for fact in item)])
                barriers += [item for item in batch if isinstance(item, Barrier)]
                if self.fault is None:
                    barriers = self._pass(barriers, None)
                for item in batch:
                    if isinstance(item, Compaction):
                        self._compact(item)
                if None in batch:
                    self._refuse(waiting)
                    self._pass(barriers, BackendUnavailable(f"the journal cannot be written: {self.fault}"))
                    return
        finally:
            self._store.close()

    def _next_batch(self) -> list[tuple[Pending, ...] | Compaction | Barrier | None]:
        """Wait for something to write, but not for long: the last attempt may have failed, or the file be gone."""
        try:
            batch = [self._queue.get(timeout=RETRY_S)]
        except queue.Empty:
            return []
        while not self._queue.empty() and len(batch) < MOST_AT_ONCE:
            batch.append(self._queue.get())
        return batch

    def _write(self, facts: list[Pending]) -> list[Pending]:
        """Write facts; return those that wait for another attempt."""
        if not facts and self.fault is None and self._store.lost() is None:
            return []
        try:
            if self.fault is not None:
                facts = self._without_written(facts)
            self._doubtful = facts  # kept over further faults, until the file could be looked at
            first = self.last_seq + 1
            self._store.write(
                [FactRow(first + i, fact.time, fact.agent, fact.kind, fact.text) for i, fact in enumerate(facts)]
            )
        except BackendUnavailable as error:
            self._note(error.detail)
            self._refuse([fact for fact in facts if not fact.patient])
            return [fact for fact in facts if fact.patient]
        events = [
            Event.known(seq=self.last_seq + i, time=fact.time, agent=fact.agent, kind=fact.kind, data=fact.data)
            for i, fact in enumerate(facts, start=1)
        ]
        self.last_seq += len(facts)
        self._doubtful = []
        self._note(None)
        self._on_loop(self._committed, facts, events)
        return []

    def _without_written(self, facts: list[Pending]) -> list[Pending]:
        """Look whether the batch that failed was written; return the facts that are still to be written.

        Raises `BackendUnavailable` when somebody else wrote into the journal: nobody is answered with a fact of theirs.
        """
        self._store.write(())  # a store that is lost must not be asked
        events = self._store.read(after=self.last_seq)
        doubtful = self._doubtful
        if events and [_written(event) for event in events] != [_pending(fact) for fact in doubtful]:
            raise BackendUnavailable(
                f"another service wrote fact {events[0].seq} of this journal; stop the one that should not, and start "
                "this one again, which goes on from what is written"
            )
        self._doubtful = []
        if not events:
            return facts
        self.last_seq = events[-1].seq or self.last_seq
        self._on_loop(self._committed, doubtful, events)  # those that were refused by then are facts all the same
        return [fact for fact in facts if fact not in doubtful]

    def _note(self, fault: str | None) -> None:
        if fault == self.fault:
            return
        self.fault = fault
        if fault is None:
            _log.warning("the journal can be written again")
        else:
            _log.error("the journal cannot be written: %s", fault)
        self._on_loop(self._fault_changed)

    def _refuse(self, facts: list[Pending]) -> None:
        if facts:
            refusal = f"the journal cannot be written: {self.fault}; nothing was acknowledged"
            self._on_loop(_refused, facts, BackendUnavailable(refusal))

    def _pass(self, barriers: list[Barrier], error: BackendUnavailable | None) -> list[Barrier]:
        """Let those go on who wait; return those that wait still: none."""
        for barrier in barriers:
            self._on_loop(_settled, barrier, error)
        return []

    def _compact(self, asked: Compaction) -> None:
        try:
            self._store.compact(asked.seq, asked.text, forget=asked.forget)
        except BackendUnavailable as error:
            refusal = BackendUnavailable(f"a snapshot cannot be written: {error.detail}")
            self._on_loop(_settled, asked, refusal)
        else:
            self.snapshot_seq, self.forgotten_seq = asked.seq, asked.forget
            self._on_loop(_settled, asked, None)


def _written(event: Event) -> tuple[object, ...]:
    return event.time, event.agent, event.kind, event.data


def _pending(fact: Pending) -> tuple[object, ...]:
    return fact.time, fact.agent, fact.kind, json.loads(fact.text)


def _refused(facts: Sequence[Pending], refusal: BackendUnavailable) -> None:
    for pending in facts:
        if not pending.done.done():
            pending.done.set_exception(refusal)
            pending.done.exception()  # a post nobody awaits was logged


def _settled(asked: Compaction | Barrier, error: BackendUnavailable | None) -> None:
    if not asked.done.done():
        asked.done.set_result(None) if error is None else asked.done.set_exception(error)
