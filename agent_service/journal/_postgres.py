"""A journal in a PostgreSQL database: facts are committed under the leader's epoch, and others read them."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from agent_service.errors import BackendUnavailable, LeadLost
from agent_service.journal._leadership import Leadership
from agent_service.journal._postgres_notes import Notes
from agent_service.journal._postgres_schema import (
    READS_S,
    is_older,
    look,
    open_engine,
    prepare,
    shown,
    unusable,
    upgrade,
    whole,
)
from agent_service.journal._tables import Rows, facts, snapshots, told_of, why
from agent_service.journal._watchdog import answers_within
from agent_service.models import utcnow

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence

    from agent_service.protocols import FactRow, Seqs

CHANNEL: Final = "agent_service_facts"
"""What a commit notifies, with the number of its last fact."""

FORGET_AT_ONCE: Final = 2000
"""Facts that are deleted in one transaction."""

COPIED_FROM: Final = 8
"""Facts in a batch from which on COPY is faster."""

COMMITS_S: Final = 5.0
"""How long a commit may take; then it is tried again on a new connection."""

LONG_S: Final = 120.0
"""How long a snapshot, or a batch of many facts, may take."""

UPGRADES_S: Final = 6 * 3600.0
"""How long an older journal may take to be brought up to date: 5 s for a million facts."""

_MANY: Final = 10_000
_COPIES_PER_S: Final = 1000
"""Facts of a copied journal that a slow database takes in a second, at least."""

_EPOCH: Final = "#epoch="

_INSERT: Final = "INSERT INTO facts (seq, epoch, time, agent, kind, data) VALUES (%s, %s, %s, %s, %s, %s)"
_COPY: Final = "COPY facts (seq, epoch, time, agent, kind, data) FROM STDIN"
_ATTEMPT: Final = sa.text(
    "INSERT INTO meta VALUES ('last_attempt', gen_random_uuid()) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_FORGET: Final = [sa.text(statement) for statement in told_of("(data::json ->> '{}')".format)]
_CURRENT: Final = sa.text("SELECT epoch FROM leader")
_NOTIFY: Final = sa.text("SELECT pg_notify(:channel, CAST(:seq AS TEXT))")

_log = logging.getLogger(__name__)


def look_at(url: str) -> None:
    """Raise `UsageError` or `BackendUnavailable` when a journal cannot be kept at a URL; changes nothing there."""
    engine = open_engine(url, pooled=False)
    look(engine)


class PostgresReader(Rows):
    """Reads the journal of another process, at ``postgresql+psycopg://...``; it is empty while there is none.

    One at `PostgresStore.reader_url` raises `LeadLost` when another service leads than the one that named it.
    """

    def __init__(self, url: str, *, pooled: bool = False) -> None:
        address, _, epoch = url.partition(_EPOCH)
        super().__init__(open_engine(address, pooled=pooled))
        self._epoch = int(epoch) if epoch else None
        self._listener: sa.Connection | None = None

    @contextlib.contextmanager
    def _connected(self) -> Generator[sa.Connection]:
        with self._engine.connect() as connection, answers_within(connection, READS_S + 1.0):
            if self._epoch is not None and self._epoch != connection.scalar(_CURRENT):
                raise LeadLost("another service leads by now, and goes on with what this one did")
            yield connection

    def _rows(self, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> Sequence[sa.Row[Any]]:
        try:
            return super()._rows(query)
        except BackendUnavailable as error:
            if 'relation "' in error.detail and "does not exist" in error.detail:  # it is being made
                return []
            raise

    def wait(self, *, after: int, within_s: float) -> None:
        """Return when there may be facts after that number. See `protocols.JournalReader`."""
        try:
            if self._listener is None:
                self._listener = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._listener.exec_driver_sql(f"LISTEN {CHANNEL}")
            if self.last_seq() <= after:
                driver: Any = self._listener.connection.driver_connection
                with answers_within(self._listener, within_s + 1.0):
                    for _ in driver.notifies(timeout=within_s, stop_after=1):
                        pass
        except Exception as error:
            self._end_listening()
            if isinstance(error, BackendUnavailable):
                raise
            raise BackendUnavailable(f"the journal cannot be read: {why(error)}") from error

    def close(self) -> None:
        """Close its connections."""
        self._end_listening()
        self._engine.dispose()

    def _end_listening(self) -> None:
        """Close the connection that listens: the server keeps notifications for whoever does not take them."""
        connection, self._listener = self._listener, None
        if connection is not None:
            _end(connection)


class PostgresStore(PostgresReader):
    """Keeps the journal in a PostgreSQL database. See `protocols.JournalStore`.

    A batch survives a crash of the server, too, as far as the server's disk does. ``lease_s`` is how long a leader
    that says nothing is believed, in seconds.
    """

    def __init__(self, url: str, *, lease_s: float = 3.0) -> None:
        super().__init__(url, pooled=True)
        self.lead = Leadership(self._engine, lease_s=lease_s)
        self.notes = Notes(self._engine, self.lead)
        self._url = url
        self._connection: sa.Connection | None = None

    def await_turn(self, given_up: threading.Event) -> bool:
        """Return True when nobody else writes. See `protocols.JournalStore`."""
        return self.lead.await_turn(given_up)

    def open(self) -> Seqs:
        """Make the tables, or bring them up to date, and be their only writer. See `protocols.JournalStore`."""
        self._end_listening()
        try:
            if not self.lead.epoch:
                prepare(self._engine)
                self.lead.take()
            with self._transaction(COMMITS_S) as connection:
                upgrades = is_older(connection, shown(self._engine))
            if upgrades:
                with self._transaction(UPGRADES_S) as connection:
                    upgrade(connection, shown(self._engine))
            with self._transaction(LONG_S) as connection:
                return whole(connection, shown(self._engine))
        except SQLAlchemyError as error:
            self.lead.close()
            raise unusable(self._engine, error) from error
        except BaseException:
            self.lead.close()
            raise

    @property
    def reader_url(self) -> str:
        """The journal's URL for a reader that is to do nothing more when another service leads."""
        return f"{self._url}{_EPOCH}{self.lead.epoch}"

    def leads(self) -> bool:
        """Return whether nobody else can write now."""
        return self.lead.holds

    def lost(self) -> str | None:
        """Return why nothing can be written any more; None while that is not known."""
        return self.lead.lost

    def write(self, batch: Sequence[FactRow]) -> None:
        """Write facts, all or none; without any, find out whether that could be done."""
        with self._attempt():
            self._insert(batch)

    def _insert(self, batch: Sequence[FactRow]) -> None:
        within_s = COMMITS_S if len(batch) < _MANY else LONG_S + len(batch) / _COPIES_PER_S
        with self._transaction(within_s) as connection:
            if not batch:
                connection.execute(_ATTEMPT)
                return
            epoch = self.lead.epoch
            rows = [(row.seq, epoch, row.time.isoformat(), row.agent, str(row.kind), row.data) for row in batch]
            if len(rows) < COPIED_FROM:
                connection.exec_driver_sql(_INSERT, rows)
            else:
                driver: Any = connection.connection.driver_connection
                with _as_sqlalchemy_raises(), driver.cursor() as cursor, cursor.copy(_COPY) as copy:
                    for row in rows:
                        copy.write_row(row)
            connection.execute(_NOTIFY, {"channel": CHANNEL, "seq": batch[-1].seq})

    def compact(self, seq: int, snapshot: str, *, forget: int | None = None) -> None:
        """Write a snapshot of the facts up to ``seq``, and delete those up to ``forget``, by default the same."""
        last = seq if forget is None else forget
        with self._attempt(), self._transaction(LONG_S) as connection:
            connection.execute(snapshots.delete())
            connection.execute(snapshots.insert(), {"seq": seq, "time": utcnow().isoformat(), "data": snapshot})
        try:
            while self._forget_some(last):
                pass
        except SQLAlchemyError as error:  # they are in the snapshot, and deleted with the next one
            self._disconnect()
            _log.warning("old facts could not be deleted from the journal: %s", why(error))

    def _forget_some(self, last: int) -> bool:
        """Delete some facts up to ``last``, but for what brains were told; return whether there were any."""
        with self._transaction(COMMITS_S) as connection:
            oldest = connection.scalar(sa.select(sa.func.min(facts.c.seq)).where(facts.c.seq <= last))
            if oldest is not None:
                some = {"first": oldest, "last": min(last, oldest + FORGET_AT_ONCE)}
                for statement in _FORGET:
                    connection.execute(statement, some)
        return oldest is not None

    def close(self) -> None:
        """Close the connections, and let a standby take over; harmless the second time."""
        self._disconnect()
        self.lead.close()
        super().close()

    @contextlib.contextmanager
    def _attempt(self) -> Generator[None]:
        """Turn what fails into `BackendUnavailable`; the next attempt begins with a new connection."""
        self.lead.require()
        try:
            yield
        except SQLAlchemyError as error:
            self._disconnect()
            raise BackendUnavailable(why(error)) from error
        except BaseException:
            self._disconnect()
            raise

    @contextlib.contextmanager
    def _transaction(self, within_s: float) -> Generator[sa.Connection]:
        """Begin a transaction of our epoch; none of it is committed when somebody else leads."""
        if self._connection is None:
            self._connection = self._engine.connect()
            with answers_within(self._connection, COMMITS_S), self._connection.begin():
                self._connection.exec_driver_sql(f"SET statement_timeout = '{COMMITS_S:.0f}s'")
                self.lead.join(self._connection)
        connection = self._connection
        with answers_within(connection, within_s + 1.0), connection.begin():
            if within_s != COMMITS_S:
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{within_s:.0f}s'")
            self.lead.check(connection)
            yield connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _end(connection)


def _end(connection: sa.Connection) -> None:
    """Close a connection for good: it does not go back to the pool."""
    with contextlib.suppress(SQLAlchemyError):
        connection.invalidate()
        connection.close()


@contextlib.contextmanager
def _as_sqlalchemy_raises() -> Generator[None]:
    """Let errors of psycopg itself be those of SQLAlchemy, as everywhere else."""
    import psycopg  # noqa: PLC0415 - there is one where this is called

    try:
        yield
    except psycopg.Error as error:
        raise DBAPIError.instance(_COPY, None, error, psycopg.Error) from error
