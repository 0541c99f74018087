"""The journal's SQLite file: how it is made and opened, and how an older one is brought up to date."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy import event as sa_event
from sqlalchemy.exc import SQLAlchemyError

from agent_service.errors import UsageError
from agent_service.journal._sqlite_files import refuse_lost
from agent_service.journal._tables import SUGGESTION, meta, metadata, seqs_of, version, why
from agent_service.journal._upgrade_log import UpgradeLog
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agent_service.protocols import Seqs

SCHEMA_VERSION: Final = 3

_BY_SUGGESTION: Final = (
    f"CREATE INDEX IF NOT EXISTS facts_by_suggestion ON facts ({SUGGESTION['sqlite']}) WHERE kind = 'suggestion.state'"
)

_FROM_SNAPSHOT: Final = (  # where they stood: seq, kind, time, data
    "INSERT INTO told SELECT json_extract(fact.value, '$[0]'), json_extract(fact.value, '$[2]'), agent.key, "
    "json_extract(fact.value, '$[1]'), json_extract(fact.value, '$[3]') FROM snapshots, "
    "json_each(snapshots.data, '$.agents') AS agent, json_each(agent.value, '$.facts') AS fact"
)
_TOLD: Final = (
    "CREATE TABLE told (seq INTEGER NOT NULL PRIMARY KEY, time VARCHAR NOT NULL, agent VARCHAR NOT NULL, "
    "kind VARCHAR NOT NULL, data TEXT NOT NULL)"
)

MIGRATIONS: Final[Mapping[int, Sequence[str]]] = {
    1: ("CREATE TABLE snapshots (seq INTEGER NOT NULL PRIMARY KEY, time VARCHAR NOT NULL, data TEXT NOT NULL)",),
    2: (_TOLD, "CREATE INDEX told_by_agent ON told (agent, seq)", _FROM_SNAPSHOT, _BY_SUGGESTION),
}
"""For each version, the statements that make the next one of it."""


def prepare(path: Path, engine: sa.Engine) -> Seqs:
    """Make the file, or bring it up to date; return where its facts begin and end.

    `UsageError` when it is no journal, cannot be used, or was written by a newer version of this program; when it was
    lost while a service ran, and a copy lies beside it.
    """
    refuse_lost(path)
    if path.is_symlink():  # whose other name no lock guards
        raise UsageError(f"the journal {path} is a link; put the file itself there, or remove it")
    try:
        private_files.touch(path)  # before SQLite makes it for everybody
        _upgrade(path)
        with engine.begin() as connection:
            metadata.create_all(connection)
            connection.exec_driver_sql(_BY_SUGGESTION)
            if connection.scalar(version()) is None:
                connection.execute(meta.insert(), {"key": "schema_version", "value": str(SCHEMA_VERSION)})
            seqs = seqs_of(connection)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise UsageError(f"the journal {path} cannot be used: {why(error)}") from error
    return seqs


def _upgrade(path: Path) -> None:
    """Migrate an older journal, a version at a time, after a copy of it was made beside it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as file:
        version = version_of(file, path)
        if version is None or version == SCHEMA_VERSION:
            return
        (facts,) = file.execute("SELECT count(*) FROM facts").fetchone()
        upgrade = UpgradeLog(path, facts=facts, versions=(version, SCHEMA_VERSION))
        with upgrade.step("it is copied"):
            _copy(file, path.with_name(f"{path.name}.v{version}"))
        while version < SCHEMA_VERSION:
            _migrate(file, version, upgrade)
            version += 1
        upgrade.done()


def version_of(file: sqlite3.Connection, path: Path) -> int | None:
    """Return the version of a journal, None of a file that holds none yet; changes nothing.

    `UsageError` for one that is newer than this program, or cannot be.
    """
    if not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return None
    row = file.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    if row is None:
        return None
    version = int(row[0]) if row[0].isascii() and row[0].isdigit() else 0
    if version < min(MIGRATIONS):
        raise UsageError(
            f"the journal {path} says that its version is {row[0]!r}, which there never was: it is damaged; put "
            "a copy in its place, or give another folder with --state"
        )
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"the journal {path} has version {version}, written by a newer agent-service; this one reads up to "
            f"{SCHEMA_VERSION}: upgrade it, or give another folder with --state"
        )
    return version


def _copy(file: sqlite3.Connection, backup: Path) -> None:
    if backup.exists():  # of an earlier attempt, which ended before the migration
        return
    unfinished = backup.with_name(f"{backup.name}.new")
    unfinished.unlink(missing_ok=True)
    private_files.touch(unfinished)
    with contextlib.closing(sqlite3.connect(unfinished)) as copy:
        file.backup(copy)
    unfinished.rename(backup)


def _migrate(file: sqlite3.Connection, version: int, upgrade: UpgradeLog) -> None:
    file.execute("BEGIN IMMEDIATE")
    try:
        upgrade.run(version, MIGRATIONS[version], file.execute)
        file.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(version + 1),))
        file.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # some errors have rolled back already
            file.execute("ROLLBACK")
        raise


def connect(path: Path, *, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    """Open a journal that is there, for any thread, one at a time; a missing one is an error, and is not made.

    SQLite takes what else may be wanted in a URI, and ``as_uri`` quotes what a path may hold: ``#``, ``?`` and ``%``.
    """
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, check_same_thread=False)


def open_engine(path: Path, *, synchronous: str) -> sa.Engine:
    """Return an engine for a journal's file, in WAL mode; connections may be used by any thread, one at a time."""
    engine = sa.create_engine("sqlite://", creator=lambda: connect(path, mode="rw"), poolclass=sa.QueuePool)

    def tune(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute("PRAGMA busy_timeout=5000")
        cursor.close()

    sa_event.listen(engine, "connect", tune)
    return engine
