"""What a journal's tables hold that is read, and how: the same in SQLite and in PostgreSQL.

Facts up to a snapshot's ``seq`` are in the snapshot, later ones are rows. There is at most one snapshot.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from agent_service.errors import BackendUnavailable
from agent_service.models import Event, EventKind
from agent_service.protocols import Seqs

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence

metadata: Final = sa.MetaData()
facts: Final = sa.Table(
    "facts",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("agent", sa.String),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Index("facts_by_agent", "agent", "seq"),
)
snapshots: Final = sa.Table(
    "snapshots",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)
meta: Final = sa.Table(
    "meta", metadata, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.String, nullable=False)
)

# made once: SQLAlchemy keeps a statement's compiled form with the statement
_KINDS: Final = {str(kind): kind for kind in EventKind}
_SNAPSHOT_SEQ: Final = sa.select(sa.func.max(snapshots.c.seq))


_LOOKS_EVERY_S: Final = 0.1


def version() -> sa.Select[Any]:
    """Return the query for the version of a journal's tables."""
    return sa.select(meta.c.value).where(meta.c.key == "schema_version")


def seqs_of(connection: sa.Connection) -> Seqs:
    """Return where the facts begin and end."""
    snapshot = connection.scalar(_SNAPSHOT_SEQ) or 0
    first, newest = connection.execute(sa.select(sa.func.min(facts.c.seq), sa.func.max(facts.c.seq))).one()
    return Seqs(max(snapshot, newest or 0), snapshot, snapshot if first is None else first - 1)


def why(error: Exception) -> str:
    """Return what the database says of an error, in one line."""
    message = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return message.splitlines()[0] if message else type(error).__name__


class Rows:
    """Reads a journal's tables, in any thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def wait(self, *, after: int, within_s: float) -> None:
        """Return when there are facts after that number. See `protocols.JournalReader`."""
        until_s = time.monotonic() + within_s
        while self.last_seq() <= after and time.monotonic() < until_s:
            time.sleep(_LOOKS_EVERY_S)

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
            Event.known(seq=seq, time=datetime.fromisoformat(time), agent=name, kind=_KINDS[kind], data=from_json(data))
            for seq, time, name, kind, data in self._rows(query if limit is None else query.limit(limit))
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

    def _connected(self) -> contextlib.AbstractContextManager[sa.Connection]:
        return self._engine.connect()

    def _number(self, query: sa.Select[Any]) -> int:
        rows = self._rows(query)
        return rows[0][0] or 0 if rows else 0

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        try:
            with self._connected() as connection:
                return connection.execute(query).all()
        except SQLAlchemyError as error:
            raise BackendUnavailable(f"the journal cannot be read: {why(error)}") from error
