"""A journal in a SQLite file: the store that the service writes, and the reader for other processes.

Facts up to a snapshot's ``seq`` are in the snapshot, later ones are rows. There is at most one snapshot.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from agent_service.errors import BackendUnavailable
from agent_service.journal._sqlite_files import JournalFiles
from agent_service.journal._sqlite_schema import connect, facts, open_engine, prepare, snapshots, why
from agent_service.models import Event, EventKind, utcnow

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from agent_service.protocols import FactRow

FORGET_AT_ONCE: Final = 2000
"""Facts that are deleted in one transaction."""

_log = logging.getLogger(__name__)

# made once: SQLAlchemy keeps a statement's compiled form with the statement
_INSERT: Final = facts.insert()
_SNAPSHOT_SEQ: Final = sa.select(sa.func.max(snapshots.c.seq))
_ATTEMPT: Final = sa.text("INSERT OR REPLACE INTO meta VALUES ('last_attempt', hex(randomblob(64)))")


class _SqliteRows:
    """Reads a journal's file, in any thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def last_seq(self) -> int:
        """Return the number of the newest fact, 0 when there is none."""
        return self._number(sa.select(sa.func.max(facts.c.seq))) or self._number(_SNAPSHOT_SEQ)

    def last_before(self, time: datetime) -> int:
        """Return the number of the last fact older than ``time``, 0 when there is none."""
        return self._number(sa.select(sa.func.max(facts.c.seq)).where(facts.c.time < time.isoformat()))

    def read(
        self,
        *,
        after: int = 0,
        agent: str | None = None,
        kinds: Sequence[EventKind] = (),
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        """Return facts in order. See `protocols.JournalReader`."""
        query = sa.select(facts)
        if newest_first:
            query = query.order_by(facts.c.seq.desc())
            query = query.where(facts.c.seq < after) if after else query
        else:
            query = query.order_by(facts.c.seq).where(facts.c.seq > after)
        if agent is not None:
            query = query.where(facts.c.agent == agent)
        if kinds:
            query = query.where(facts.c.kind.in_([str(kind) for kind in kinds]))
        return [
            Event.model_construct(
                seq=row.seq,
                time=datetime.fromisoformat(row.time),
                agent=row.agent,
                kind=EventKind(row.kind),
                data=json.loads(row.data),
            )
            for row in self._rows(query if limit is None else query.limit(limit))
        ]

    def snapshot(self) -> tuple[int, dict[str, Any]] | None:
        """Return the number of the last fact in the snapshot, and the snapshot. See `protocols.JournalReader`."""
        rows = self._rows(sa.select(snapshots).order_by(snapshots.c.seq.desc()).limit(1))
        if not rows:
            return None
        try:
            return rows[0].seq, json.loads(rows[0].data)
        except ValueError as error:
            raise BackendUnavailable(
                f"the snapshot in the journal is damaged ({error}); bring the state directory back from a backup"
            ) from error

    def _number(self, query: sa.Select[Any]) -> int:
        rows = self._rows(query)
        return rows[0][0] or 0 if rows else 0

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        try:
            with self._engine.connect() as connection:
                return connection.execute(query).all()
        except SQLAlchemyError as error:
            raise BackendUnavailable(f"the journal cannot be read: {why(error)}") from error


class SqliteReader(_SqliteRows):
    """Reads the journal of another process; it is empty while there is none.

    Parameters
    ----------
    url
        ``sqlite:///PATH``, where what a URL cannot hold is quoted.
    """

    def __init__(self, url: str) -> None:
        path = Path(os.fsdecode(unquote_to_bytes(url.removeprefix("sqlite:///"))))
        self._path = path
        super().__init__(sa.create_engine("sqlite://", creator=lambda: connect(path, mode="ro"), poolclass=sa.NullPool))

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        if not self._path.exists():
            return []
        try:
            return super()._rows(query)
        except BackendUnavailable as error:
            if "no such table" in error.detail:  # it is being made
                return []
            raise


class SqliteStore(_SqliteRows):
    """Keeps the journal in a SQLite file. See `protocols.JournalStore`.

    Parameters
    ----------
    path
        The file; made when it is missing. Its folder must exist, on a local disk.
    power_safe
        Whether a batch also survives a power cut (synchronous=FULL) and not only a kill -9 (NORMAL).
    folder_lost
        Returns why its folder is no longer this service's, or None; asked at each batch.
    """

    def __init__(
        self, path: Path, *, power_safe: bool = False, folder_lost: Callable[[], str | None] = lambda: None
    ) -> None:
        super().__init__(open_engine(path, synchronous="FULL" if power_safe else "NORMAL"))
        self._path = path
        self._files = JournalFiles(path, folder_lost=folder_lost)
        self._connection: sa.Connection | None = None

    def open(self) -> tuple[int, int]:
        """Make the file, or bring it up to date. See `protocols.JournalStore`."""
        seqs = prepare(self._path, self._engine)
        self._files.remember()
        return seqs

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
                rows = [{**row._asdict(), "time": row.time.isoformat(), "kind": str(row.kind)} for row in batch]
                connection.execute(_INSERT, rows)
            else:
                connection.execute(_ATTEMPT)

    def compact(self, seq: int, snapshot: str) -> None:
        """Put a snapshot in the place of the facts up to ``seq``."""
        with self._attempt(), self._transaction() as connection:
            connection.execute(snapshots.delete())
            connection.execute(snapshots.insert(), {"seq": seq, "time": utcnow().isoformat(), "data": snapshot})
        try:
            self._forget(seq)
        except SQLAlchemyError as error:  # they are in the snapshot, and deleted with the next one
            self._disconnect()
            _log.warning("old facts could not be deleted from the journal: %s", why(error))

    def _forget(self, seq: int) -> None:
        """Delete the facts up to ``seq``, some at a time; what an end in between leaves is never read again."""
        oldest: int | None = 1
        while oldest is not None:
            with self._transaction() as connection:
                connection.execute(facts.delete().where(facts.c.seq <= min(seq, oldest + FORGET_AT_ONCE)))
                oldest = connection.scalar(sa.select(sa.func.min(facts.c.seq)).where(facts.c.seq <= seq))

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
