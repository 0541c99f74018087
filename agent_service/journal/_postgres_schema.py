"""The journal's tables in a PostgreSQL database, and how older ones are brought up to date.

Times are texts in the order of their bytes, whatever the database's locale. Facts are numbered by their one writer: a
sequence would leave holes, and show later numbers before earlier ones. ``leader`` has one row: see `_leadership`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy import event as sa_event
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from agent_service.errors import BackendUnavailable, UsageError
from agent_service.errors.texts import without_password
from agent_service.journal._tables import SUGGESTION, meta, seqs_of, version as version_query, why
from agent_service.journal._upgrade_log import UpgradeLog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.protocols import Seqs

SCHEMA_VERSION: Final = 2

_TABLE: Final = (
    'CREATE TABLE told (seq BIGINT PRIMARY KEY, time TEXT COLLATE "C" NOT NULL, agent TEXT COLLATE "C" NOT NULL, '
    'kind TEXT COLLATE "C" NOT NULL, data TEXT NOT NULL)'
)
_BY_SUGGESTION: Final = (
    f"CREATE INDEX facts_by_suggestion ON facts ({SUGGESTION['postgresql']}) WHERE kind = 'suggestion.state'"
)
_TOLD: Final = (_TABLE, "CREATE INDEX told_by_agent ON told (agent, seq)", _BY_SUGGESTION)
_FROM_SNAPSHOT: Final = (  # where they stood: seq, kind, time, data
    "INSERT INTO told SELECT (fact ->> 0)::bigint, fact ->> 2, agent.key, fact ->> 1, (fact -> 3)::text "
    "FROM snapshots, json_each(snapshots.data::json -> 'agents') AS agent, "
    "json_array_elements(agent.value -> 'facts') AS fact"
)

STATEMENTS: Final = (
    'CREATE TABLE meta (key TEXT COLLATE "C" PRIMARY KEY, value TEXT NOT NULL)',
    (
        'CREATE TABLE facts (seq BIGINT PRIMARY KEY, epoch BIGINT NOT NULL, time TEXT COLLATE "C" NOT NULL, '
        'agent TEXT COLLATE "C", kind TEXT COLLATE "C" NOT NULL, data TEXT NOT NULL)'
    ),
    "CREATE INDEX facts_by_agent ON facts (agent, seq)",
    "CREATE INDEX facts_by_time ON facts (time)",
    'CREATE TABLE snapshots (seq BIGINT PRIMARY KEY, time TEXT COLLATE "C" NOT NULL, data TEXT NOT NULL)',
    *_TOLD,
    "CREATE TABLE notes (name TEXT PRIMARY KEY, text TEXT NOT NULL)",
    "CREATE TABLE keys (number BIGSERIAL PRIMARY KEY, line TEXT NOT NULL UNIQUE)",
    # epoch is a key, so that counting it up waits for FOR KEY SHARE, and counting up the beat does not
    (
        "CREATE TABLE leader (epoch BIGINT PRIMARY KEY, beat BIGINT NOT NULL, holder TEXT NOT NULL, "
        "backends INTEGER[] NOT NULL, one BOOLEAN UNIQUE DEFAULT true CHECK (one))"
    ),
    "INSERT INTO leader VALUES (0, 0, 'nobody', '{}')",
)
"""What makes the tables of `SCHEMA_VERSION`."""

MIGRATIONS: Final[Mapping[int, Sequence[str]]] = {1: (*_TOLD, _FROM_SNAPSHOT)}
"""For each version, the statements that make the next one of it."""

APPLICATION: Final = "agent-service journal"
"""What our connections are called in ``pg_stat_activity``."""

READS_S: Final = 15.0
"""How long a statement may take, but for those of the leader."""

_DRIVERS: Final = ("postgresql", "postgresql+psycopg")
_NO_URL: Final = "the journal's URL cannot be read; it looks like postgresql+psycopg://USER@HOST/DATABASE"

_NO_PRIVILEGE: Final = "42501"

_OLDEST: Final = 130000
"""The oldest PostgreSQL, as ``server_version_num`` has it."""

_ABOUT: Final = sa.text(
    "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version, "
    "current_setting('server_encoding') AS encoding, current_setting('transaction_read_only')::bool AS read_only, "
    "current_database() AS name"
)

_PREPARES: Final = 0x6167656E74
"""Key of the lock under which tables are made: two at once would fail."""

_SETTINGS: Final = (
    f"SET application_name = '{APPLICATION}'; SET statement_timeout = '{READS_S:.0f}s'; "
    "SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '5s'; SET synchronous_commit = on"
)


def open_engine(url: str, *, pooled: bool) -> sa.Engine:
    """Return an engine for a journal's database, whose connections notice within seconds that the server is gone.

    Raises
    ------
    UsageError
        The URL is none, or psycopg is not installed.
    """
    try:
        parsed = sa.engine.make_url(url)
        if parsed.drivername not in _DRIVERS or "@" in (parsed.host or ""):  # the rest of a password that has one
            raise UsageError(_NO_URL)
        engine = sa.create_engine(
            parsed.set(drivername=_DRIVERS[-1]),
            poolclass=sa.QueuePool if pooled else sa.NullPool,
            connect_args={
                "client_encoding": "utf8",  # whatever PGCLIENTENCODING says
                "connect_timeout": 3,
                "keepalives_idle": 2,
                "keepalives_interval": 1,
                "keepalives_count": 3,
                "tcp_user_timeout": 5000,
            },
        )
    except ImportError:
        raise UsageError(
            "a journal in PostgreSQL needs psycopg, which is not installed here: "
            'pip install "bluesky-agent-service[postgresql]"'
        ) from None
    except (ArgumentError, ValueError):
        raise UsageError(_NO_URL) from None

    def configure(connection: Any, _record: object) -> None:
        before, connection.autocommit = connection.autocommit, True
        connection.execute(_SETTINGS)
        connection.autocommit = before

    sa_event.listen(engine, "connect", configure)
    return engine


def shown(engine: sa.Engine) -> str:
    """Return the address of a database without its password."""
    return without_password(engine.url.render_as_string(hide_password=False))


def prepare(engine: sa.Engine) -> Literal[True]:
    """Make the tables where there are none; those of an older version are left as they are: see `upgrade`.

    Raises `UsageError` where they are no journal, `BackendUnavailable` where the database cannot be reached.
    """
    try:
        with engine.begin() as connection:
            _require_fit(connection, shown(engine))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_PREPARES)))
            if version_of(connection, shown(engine)) is not None:
                return True
            for statement in STATEMENTS:
                connection.exec_driver_sql(statement)
            connection.execute(meta.insert(), {"key": "schema_version", "value": str(SCHEMA_VERSION)})
    except SQLAlchemyError as error:
        raise unusable(engine, error) from error
    return True


def look(engine: sa.Engine) -> None:
    """Raise what `prepare` would raise, as far as that can be known without changing anything."""
    try:
        with engine.connect() as connection:
            _require_fit(connection, shown(engine))
            version_of(connection, shown(engine))
    except SQLAlchemyError as error:
        raise unusable(engine, error) from error


def _require_fit(connection: sa.Connection, where: str) -> None:
    about = connection.execute(_ABOUT).one()
    if about.number < _OLDEST:
        raise UsageError(
            f"the journal {where} cannot be used: its server is PostgreSQL {about.version}; 13 or newer is needed"
        )
    if about.encoding != "UTF8":
        raise UsageError(
            f"the journal {where} cannot be used: its database has the encoding {about.encoding}, which has not every "
            f"character; make it anew, with CREATE DATABASE {about.name} ENCODING 'UTF8' TEMPLATE template0"
        )
    if about.read_only:  # it may be another one in a moment
        raise BackendUnavailable(
            f"the journal {where} cannot be written: its database is read-only; give the address of the primary "
            "server, not of a replica, and look at default_transaction_read_only"
        )


def is_older(connection: sa.Connection, where: str) -> bool:
    """Whether the tables are of an older version; `UsageError` for one that this program cannot read."""
    return version_of(connection, where) != SCHEMA_VERSION


def upgrade(connection: sa.Connection, where: str) -> None:
    """Bring older tables up to date, in one transaction: it happens as a whole, or not at all."""
    schema_version = version_of(connection, where) or SCHEMA_VERSION
    facts = connection.scalar(sa.text("SELECT count(*) FROM facts")) or 0
    log = UpgradeLog(where, facts=facts, versions=(schema_version, SCHEMA_VERSION))
    for version in range(schema_version, SCHEMA_VERSION):
        log.run(version, MIGRATIONS[version], connection.exec_driver_sql)
    connection.execute(meta.update().where(meta.c.key == "schema_version"), {"value": str(SCHEMA_VERSION)})
    log.done()


def whole(connection: sa.Connection, where: str) -> Seqs:
    """Return where the facts begin and end; `UsageError` when some of them are missing."""
    seqs = seqs_of(connection)
    if seqs.forgotten > seqs.snapshot:
        raise UsageError(
            f"the journal {where} begins with fact {seqs.forgotten + 1}, and no snapshot holds those before: a copy "
            "into it was cut short; drop its tables, and copy again"
        )
    return seqs


def version_of(connection: sa.Connection, where: str) -> int | None:
    """Return the version of the tables, None where there are none; `UsageError` for what this program cannot read."""
    if connection.scalar(sa.text("SELECT to_regclass('meta')")) is None:
        return None
    schema_version = connection.scalar(version_query())
    number = (
        int(schema_version)
        if schema_version is not None and schema_version.isascii() and schema_version.isdigit()
        else 0
    )
    if number > SCHEMA_VERSION:
        raise UsageError(
            f"the journal {where} has version {number}, written by a newer agent-service; this one reads up to "
            f"{SCHEMA_VERSION}: upgrade it, or give another database"
        )
    if number < min(MIGRATIONS, default=SCHEMA_VERSION):
        raise UsageError(f"the journal {where} says that its version is {schema_version!r}, which there never was")
    return number


def unusable(engine: sa.Engine, error: Exception) -> UsageError | BackendUnavailable:
    """Return what is said of a database that is no journal, or cannot be reached."""
    said = f"the journal {shown(engine)} cannot be used: {why(error)}"
    code = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    if code == _NO_PRIVILEGE:
        owner = f"ALTER DATABASE {engine.url.database} OWNER TO {engine.url.username}"
        return UsageError(f"{said}; its database has to belong to the user of the URL: {owner}")
    # a server that hung may end a connection as idle, which is no OperationalError
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return BackendUnavailable(said)
    if isinstance(error, OperationalError):
        return BackendUnavailable(
            f"{said}; look whether its server runs and has that database, and at the password, in PGPASSWORD or "
            "~/.pgpass"
        )
    return UsageError(said)
