"""A journal in a SQLite file, written: where facts and snapshots are committed."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError

from agent_service.errors import BackendUnavailable
from agent_service.journal._sqlite_files import JournalFiles
from agent_service.journal._sqlite_schema import open_engine, prepare
from agent_service.journal._tables import Rows, facts, snapshots, told_of, why
from agent_service.models import utcnow

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from agent_service.protocols import FactRow, Seqs

FORGET_AT_ONCE: Final = 2000
"""Facts that are deleted in one transaction."""

_log = logging.getLogger(__name__)

_INSERT: Final = str(facts.insert().compile(dialect=sqlite.dialect()))
"""Given to the driver as it is: what SQLAlchemy does for each statement costs as much as the commit."""

_FORGET: Final = [sa.text(statement) for statement in told_of("json_extract(data, '$.{}')".format)]
_ATTEMPT: Final = sa.text("INSERT OR REPLACE INTO meta VALUES ('last_attempt', hex(randomblob(64)))")


class SqliteStore(Rows):
    """Keeps the journal in a SQLite file, on a local disk. See `protocols.JournalStore`.

    ``power_safe``: a batch also survives a power cut (synchronous=FULL) and not only a kill -9 (NORMAL).
    ``folder_lost`` returns why its folder is no longer this service's, or None; asked at each batch.
    """

    def __init__(
        self, path: Path, *, power_safe: bool = False, folder_lost: Callable[[], str | None] = lambda: None
    ) -> None:
        super().__init__(open_engine(path, synchronous="FULL" if power_safe else "NORMAL"))
        self._path = path
        self._files = JournalFiles(path, folder_lost=folder_lost)
        self._connection: sa.Connection | None = None

    def open(self) -> Seqs:
        """Make the file, or bring it up to date. See `protocols.JournalStore`."""
        seqs = prepare(self._path, self._engine)
        self._files.remember()
        return seqs

    def await_turn(self, given_up: threading.Event) -> bool:
        """Return True at once: a file lock on the state directory keeps others away."""
        return True

    def leads(self) -> bool:
        """Return whether nobody else can write now."""
        return True

    def lost(self) -> str | None:
        """Return why the next start would not read what is written now, and what to do; None when it would."""
        reason = self._files.lost()
        return reason and f"{reason}; {self._files.remedy()}"

    def write(self, batch: Sequence[FactRow]) -> None:
        """Write facts, all or none; without any, find out whether that could be done."""
        with self._attempt():
            self._insert(batch)

    def _insert(self, batch: Sequence[FactRow]) -> None:
        with self._transaction() as connection:
            if batch:
                rows = [(row.seq, row.time.isoformat(), row.agent, str(row.kind), row.data) for row in batch]
                connection.exec_driver_sql(_INSERT, rows)
            else:
                connection.execute(_ATTEMPT)

    def compact(self, seq: int, snapshot: str, *, forget: int | None = None) -> None:
        """Write a snapshot of the facts up to ``seq``, and delete those up to ``forget``, by default the same."""
        with self._attempt(), self._transaction() as connection:
            connection.execute(snapshots.delete())
            connection.execute(snapshots.insert(), {"seq": seq, "time": utcnow().isoformat(), "data": snapshot})
        try:
            self._forget(seq if forget is None else forget)
        except SQLAlchemyError as error:  # they are in the snapshot, and deleted with the next one
            self._disconnect()
            _log.warning("old facts could not be deleted from the journal: %s", why(error))

    def _forget(self, seq: int) -> None:
        """Delete the facts up to ``seq``, some at a time, but for what brains were told."""
        while True:
            with self._transaction() as connection:
                oldest = connection.scalar(sa.select(sa.func.min(facts.c.seq)).where(facts.c.seq <= seq))
                if oldest is None:
                    return
                some = {"first": oldest, "last": min(seq, oldest + FORGET_AT_ONCE)}
                for statement in _FORGET:
                    connection.execute(statement, some)

    def close(self) -> None:
        """Close the file; harmless the second time."""
        self._disconnect()
        self._engine.dispose()

    @contextlib.contextmanager
    def _attempt(self) -> Generator[None]:
        """Turn what fails into `BackendUnavailable`; the next attempt begins with a new connection."""
        try:
            self._require_files()
            yield
            self._require_files()
        except SQLAlchemyError as error:
            self._disconnect()
            raise BackendUnavailable(why(error)) from error

    def _require_files(self) -> None:
        """Raise `BackendUnavailable` when the next start would not read what is written here."""
        if (reason := self._files.lost()) is not None:
            self._disconnect()
            self._files.rescue(self._engine)
            raise BackendUnavailable(f"{reason}; {self._files.remedy()}")

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
