"""What a journal's tables hold that is read, and how: the same in SQLite and in PostgreSQL.

Facts up to a snapshot's ``seq`` are in the snapshot; there is at most one. Those that nobody needs one by one any more
are deleted, but what brains were told goes into the table ``told``, and stays as long as its agent.
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
    from collections.abc import Callable, Sequence

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
told: Final = sa.Table(
    "told",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("agent", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Index("told_by_agent", "agent", "seq"),
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
_TOLD_KINDS: Final = ("suggestion.state", "ingest", "config", "method")
_IDS_AT_ONCE: Final = 500
_COLUMNS: Final = "seq, time, agent, kind, data"
# id of the suggestion that a fact is about, as the index of each engine has it
SUGGESTION: Final = {"sqlite": "json_extract(data, '$.id')", "postgresql": "(data::json ->> 'id')"}


def told_of(field: Callable[[str], str]) -> tuple[str, str, str]:
    """Return the statements that delete the facts from ``first`` to ``last``, and keep of them what brains were told.

    ``field`` returns what stands for a field of the data, NULL where there is none. What brains were told of agents
    that were removed is deleted too.
    """
    state = field("state")
    kept = (
        "agent IS NOT NULL AND (kind IN ('ingest', 'config', 'method') OR (kind = 'suggestion.state' AND ("
        f"{state} IN ('proposed', 'rejected', 'expired', 'failed', 'abandoned') "
        f"OR ({state} = 'approved' AND {field('point')} IS NOT NULL))))"
    )
    those = "seq >= :first AND seq <= :last"
    keep = f"INSERT INTO told ({_COLUMNS}) SELECT {_COLUMNS} FROM facts WHERE {those} AND {kept}"  # noqa: S608
    gone = f"FROM facts WHERE {those} AND kind = 'agent.state' AND {field('removed')} IS NOT NULL"
    drop = (
        f"DELETE FROM told WHERE agent IN (SELECT agent {gone}) "  # noqa: S608
        f"AND seq < (SELECT max(facts.seq) {gone} AND facts.agent = told.agent)"
    )
    return f"{keep} ON CONFLICT DO NOTHING", drop, f"DELETE FROM facts WHERE {those}"  # noqa: S608 - no input in any


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
        return self._events(query if limit is None else query.limit(limit))

    def told(
        self, agent: str | None = None, *, after: int = 0, until: int | None = None, limit: int | None = None
    ) -> list[Event]:
        """Return what brains may have been told. See `protocols.JournalReader`."""
        parts: list[sa.Select[Any]] = []
        for table in (told, facts):
            part = sa.select(table.c.seq, table.c.time, table.c.agent, table.c.kind, table.c.data)
            part = part.where(table.c.seq > after)
            part = part if until is None else part.where(table.c.seq <= until)
            part = part if agent is None else part.where(table.c.agent == agent)
            parts.append(part.where(table.c.kind.in_(_TOLD_KINDS)) if table is facts else part)
        query = sa.union_all(*parts).order_by("seq")  # in one statement: facts go from the one table to the other
        events = self._events(query if limit is None else query.limit(limit))
        return list({event.seq: event for event in events}.values())

    def of_suggestions(self, ids: Sequence[str]) -> list[Event]:
        """Return the facts about suggestions, in order. See `protocols.JournalReader`."""
        own: sa.ColumnClause[str] = sa.literal_column(SUGGESTION[self._engine.dialect.name])
        events: list[Event] = []
        for first in range(0, len(ids), _IDS_AT_ONCE):
            about = own.in_(ids[first : first + _IDS_AT_ONCE])
            query = sa.select(facts).where(sa.literal_column("kind") == sa.literal_column("'suggestion.state'"), about)
            events += self._events(query)
        return sorted(events, key=lambda event: event.seq or 0)

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

    def _events(self, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> list[Event]:
        return [
            Event.known(seq=seq, time=datetime.fromisoformat(time), agent=name, kind=_KINDS[kind], data=from_json(data))
            for seq, time, name, kind, data in self._rows(query)
        ]

    def _connected(self) -> contextlib.AbstractContextManager[sa.Connection]:
        return self._engine.connect()

    def _number(self, query: sa.Select[Any]) -> int:
        rows = self._rows(query)
        return rows[0][0] or 0 if rows else 0

    def _rows(self, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> Sequence[sa.Row[Any]]:
        try:
            with self._connected() as connection:
                return connection.execute(query).all()
        except SQLAlchemyError as error:
            raise BackendUnavailable(f"the journal cannot be read: {why(error)}") from error
