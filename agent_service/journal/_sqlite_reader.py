"""A journal in a SQLite file, read: by the service that writes it, and by other processes.

Facts up to a snapshot's ``seq`` are in the snapshot, later ones are rows. There is at most one snapshot.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from agent_service.errors import BackendUnavailable
from agent_service.journal._sqlite_schema import connect, facts, snapshots, why
from agent_service.models import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

# made once: SQLAlchemy keeps a statement's compiled form with the statement
_SNAPSHOT_SEQ: Final = sa.select(sa.func.max(snapshots.c.seq))


class SqliteRows:
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


class SqliteReader(SqliteRows):
    """Reads the journal of another process, at ``sqlite:///PATH`` (quoted); it is empty while there is none."""

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
