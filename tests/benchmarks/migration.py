"""An older journal of a million facts brought up to date, in SQLite and in PostgreSQL: how long the first start takes.

It is of the version before the table ``told``, and its snapshot holds what brains were told. `SCALE_PART=0.1` makes it
smaller. By the clock: the work is the database's.
"""

import contextlib
import json
import os
import sqlite3
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from postgres_server import PostgresServer

from agent_service.journal import PostgresStore, SqliteStore
from agent_service.protocols import FactRow
from tests.benchmarks import large_journal

WANTED = "a first start that says how far it is"
PART = float(os.environ.get("SCALE_PART", "1"))
TOLD = ("ingest", "suggestion.state")
OLDER = ("DROP TABLE told", "DROP INDEX facts_by_suggestion")


def _snapshot(store):
    """Return a snapshot of what brains were told, as the version before kept it."""
    agents, seq = {}, 0
    while events := store.read(after=seq, limit=50_000):
        for event in events:
            own = agents.setdefault(event.agent, {"facts": []})["facts"]
            if event.kind == "ingest" or (event.kind in TOLD and event.data["state"] == "proposed"):
                own.append([event.seq, str(event.kind), event.time.isoformat(), event.data])
        seq = events[-1].seq
    return seq, json.dumps({"agents": agents}, separators=(",", ":"))


def _copied(store, other):
    seq = 0
    while events := store.read(after=seq, limit=50_000):
        rows = [FactRow(one.seq, one.time, one.agent, one.kind, json.dumps(one.data)) for one in events]
        other.write(rows)
        seq = events[-1].seq


def _opened_s(store):
    began = time.perf_counter()
    store.open()
    took_s = time.perf_counter() - began
    return took_s, len(store.told())


def measure(folder):
    """Yield lines to print."""
    file = folder / "journal.db"
    count = large_journal.write(file, agents=max(3, int(10_000 * PART)), points=14)
    with contextlib.closing(PostgresServer()) as server:
        url = server.database()
        with contextlib.closing(SqliteStore(file)) as store, contextlib.closing(PostgresStore(url)) as other:
            store.open()
            other.open()
            seq, snapshot = _snapshot(store)
            _copied(store, other)
            for one in (store, other):  # the facts stay beside it
                one.compact(seq, snapshot, forget=0)
        for statement in (*OLDER, "UPDATE meta SET value = '1' WHERE key = 'schema_version'"):
            server.ask(url, statement)
        with contextlib.closing(sqlite3.connect(file)) as older:
            for statement in (*OLDER, "UPDATE meta SET value = '2' WHERE key = 'schema_version'"):
                older.execute(statement)
            older.commit()
            older.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = f"{count:,} facts, {file.stat().st_size / 1e6:.0f} MB, a snapshot of {len(snapshot) / 1e6:.0f} MB"
        for name, one in (("SQLite", SqliteStore(file)), ("PostgreSQL", PostgresStore(url))):
            with contextlib.closing(one):
                took_s, told = _opened_s(one)
            yield f"{name}, {size}: brought up to date in {took_s:.1f} s; {told:,} facts that brains were told"
