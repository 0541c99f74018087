"""The journal's writer: one thread, group commit, and what happens when the disk does not take it.

A fact that cannot be written is refused, or, if it is patient, tried again until it can be. A commit that failed may
have come to pass all the same, so after a failure the file is looked at before anything gets a number.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from agent_service.errors import BackendUnavailable
from agent_service.journal import _sqlite as journal_file
from agent_service.models import Event, EventKind, utcnow

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator, Sequence
    from datetime import datetime

    from agent_service.journal._place import JournalPlace

RETRY_S: Final = 1.0
"""How often a journal that cannot be written is tried again, and how often one is looked at while there is no fact."""

MOST_AT_ONCE: Final = 1000
"""Facts that share a commit at most, so that none takes long."""

FORGET_AT_ONCE: Final = 2000
"""Facts that are deleted in one transaction."""

_log = logging.getLogger(__name__)

# made once: SQLAlchemy keeps a statement's compiled form with the statement
_INSERT = journal_file.facts.insert()
_ATTEMPT = sa.text("INSERT OR REPLACE INTO meta VALUES ('last_attempt', hex(randomblob(64)))")


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
    """A snapshot on its way to the disk, and with it the end of the facts that it holds."""

    seq: int
    text: str
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Barrier:
    """Somebody who waits until facts can be written, and no commit is in doubt."""

    done: asyncio.Future[None]


class JournalWriter:
    """Writes in a thread of its own what other threads put into its queue.

    Parameters
    ----------
    engine
        The file.
    place
        Where it is.
    seqs
        Numbers of the last fact in it, and of the last one in its snapshot.
    on_loop
        ``on_loop(function, *args)``: call it on the event loop, which owns the futures and what is below.
    committed
        ``committed(facts, events)``: called with what was written, in order, before its futures are done.
    fault_changed
        Called when `fault` changed.
    """

    def __init__(  # noqa: PLR0913 - the file's two sides, and what its owner wants to know
        self,
        engine: sa.Engine,
        place: JournalPlace,
        seqs: tuple[int, int],
        *,
        on_loop: Callable[..., None],
        committed: Callable[[Sequence[Pending], Sequence[Event]], None],
        fault_changed: Callable[[], None],
    ) -> None:
        self.last_seq, self.snapshot_seq = seqs
        self.fault: str | None = None
        self._engine = engine
        self._place = place
        self._on_loop = on_loop
        self._committed = committed
        self._fault_changed = fault_changed
        self._queue: queue.SimpleQueue[tuple[Pending, ...] | Compaction | Barrier | None] = queue.SimpleQueue()
        self._connection: sa.Connection | None = None
        self._doubtful: list[Pending] = []
        self._thread = threading.Thread(target=self._write_forever, name="journal", daemon=True)
        self._thread.start()

    def put(self, one: tuple[Pending, ...] | Compaction | Barrier) -> None:
        """Queue facts that are to be written in one transaction, or a snapshot, or a barrier; from any thread."""
        self._queue.put(one)

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
                waiting = self._write([*waiting, *(fact for one in batch if isinstance(one, tuple) for fact in one)])
                barriers += [one for one in batch if isinstance(one, Barrier)]
                if self.fault is None:
                    barriers = self._pass(barriers, None)
                for one in batch:
                    if isinstance(one, Compaction):
                        self._compact(one)
                if None in batch:
                    self._refuse(waiting)
                    self._pass(barriers, BackendUnavailable(f"the journal cannot be written: {self.fault}"))
                    return
        finally:
            self._disconnect()

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
        if not facts and self.fault is None and self._place.fault() is None:
            return []
        try:
            self._require_place()
            if self.fault is not None:
                facts = self._without_written(facts)
            self._doubtful = facts  # kept over further faults, until the file could be looked at
            self._insert(self.last_seq + 1, facts)
            self._require_place()
        except (SQLAlchemyError, BackendUnavailable) as error:
            self._disconnect()
            self._note(journal_file.why(error))
            self._refuse([one for one in facts if not one.patient])
            return [one for one in facts if one.patient]
        events = [
            Event.model_construct(seq=self.last_seq + i, time=one.time, agent=one.agent, kind=one.kind, data=one.data)
            for i, one in enumerate(facts, start=1)
        ]
        self.last_seq += len(facts)
        self._doubtful = []
        self._note(None)
        self._on_loop(self._committed, facts, events)
        return []

    def _require_place(self) -> None:
        """Raise `BackendUnavailable` when the next start would not read what is written here."""
        if (why := self._place.fault()) is not None:
            self._disconnect()
            self._place.rescue(self._engine)
            raise BackendUnavailable(f"{why}; {self._place.remedy()}")

    def _without_written(self, facts: list[Pending]) -> list[Pending]:
        """Look whether the commit that failed has come to pass; return the facts that are still to be written."""
        self._disconnect()
        found = journal_file.select(self._engine, journal_file.query(after=self.last_seq))
        doubtful, self._doubtful = self._doubtful, []
        if not found:
            return facts
        self.last_seq = found[-1].seq or self.last_seq
        self._on_loop(self._committed, doubtful, found)  # those that were refused by then are facts all the same
        return [one for one in facts if one not in doubtful]

    def _insert(self, first: int, facts: list[Pending]) -> None:
        """Write facts numbered from ``first`` in one transaction; without any, find out whether it could be done."""
        rows = [
            {
                "seq": first + i,
                "time": one.time.isoformat(),
                "agent": one.agent,
                "kind": str(one.kind),
                "data": one.text,
            }
            for i, one in enumerate(facts)
        ]
        with self._transaction() as connection:
            if rows:
                connection.execute(_INSERT, rows)
            else:
                connection.execute(_ATTEMPT)

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
        for one in barriers:
            self._on_loop(_settled, one, error)
        return []

    def _compact(self, asked: Compaction) -> None:
        try:
            self._require_place()
            with self._transaction() as connection:
                connection.execute(journal_file.snapshots.delete())
                told = {"seq": asked.seq, "time": utcnow().isoformat(), "data": asked.text}
                connection.execute(journal_file.snapshots.insert(), told)
            self._require_place()
            self.snapshot_seq = asked.seq
            self._forget(asked.seq)
        except (SQLAlchemyError, BackendUnavailable) as error:
            self._disconnect()
            self._on_loop(
                _settled, asked, BackendUnavailable(f"a snapshot cannot be written: {journal_file.why(error)}")
            )
        else:
            self._on_loop(_settled, asked, None)

    def _forget(self, seq: int) -> None:
        """Delete the facts up to ``seq``, some at a time; what an end in between leaves is never read again."""
        rows = journal_file.facts
        oldest: int | None = 1
        while oldest is not None:
            with self._transaction() as connection:
                connection.execute(rows.delete().where(rows.c.seq <= min(seq, oldest + FORGET_AT_ONCE)))
                oldest = connection.scalar(sa.select(sa.func.min(rows.c.seq)).where(rows.c.seq <= seq))

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sa.Connection]:
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            yield self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()


def _refused(facts: Sequence[Pending], refusal: BackendUnavailable) -> None:
    for pending in facts:
        if not pending.done.done():
            pending.done.set_exception(refusal)
            pending.done.exception()  # a post nobody awaits was logged


def _settled(asked: Compaction | Barrier, error: BackendUnavailable | None) -> None:
    if not asked.done.done():
        asked.done.set_result(None) if error is None else asked.done.set_exception(error)
