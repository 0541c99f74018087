"""Who may write a journal in PostgreSQL: one leader, by its lock, its lease and its epoch."""

import contextlib
import json
import subprocess
import sys
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from services import wait_until

from agent_service.errors import BackendUnavailable, LeadLost, UsageError
from agent_service.journal import (
    PostgresStore,
    _leadership,
    _postgres,
    _postgres_schema as schema,
    _upgrade_log,
    reader,
)
from agent_service.models import EventKind
from agent_service.protocols import FactRow

LEASE_S = 1.0
TIME = datetime(2026, 1, 1, tzinfo=UTC)


def row(seq):
    return FactRow(seq, TIME, "a", EventKind.REPORT, "{}")


@pytest.fixture
def url(postgres):
    return postgres.database()


@pytest.fixture
def stores(url):
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(PostgresStore(url, lease_s=LEASE_S)))


class Standby:
    """A store that waits for its turn in a thread, as a service does."""

    def __init__(self, store):
        self.store = store
        self.given_up = threading.Event()
        self.leads = None
        self._thread = threading.Thread(target=self._wait)
        self._thread.start()

    def _wait(self):
        self.leads = self.store.await_turn(self.given_up)

    def took_over(self):
        self._thread.join(60)
        return self.leads

    def give_up(self):
        self.given_up.set()
        return self.took_over()


@pytest.fixture
def standby(stores):
    one = Standby(stores())
    yield one
    one.give_up()


def test_one_writes_and_another_is_refused(stores):
    first = stores()
    first.open()
    first.write([row(1)])
    with pytest.raises(UsageError, match=r"in use by another service \(process \d+ on .*standby = true"):
        stores().open()
    first.write([row(2)])
    assert first.leads()


def test_a_standby_leads_as_soon_as_the_leader_ends(stores, url):
    leader = stores()
    leader.open()
    leader.write([row(1)])
    standby = Standby(stores())
    leader.close()
    assert standby.took_over() is True
    assert standby.store.open() == (1, 0, 0)
    standby.store.write([row(2)])
    assert [fact.seq for fact in reader(url).read()] == [1, 2]


def test_a_standby_that_is_given_up_leaves_the_lead_to_others(stores):
    leader = stores()
    leader.open()
    standby = Standby(stores())
    assert standby.give_up() is False
    leader.close()
    stores().open()


def test_a_leader_that_says_nothing_is_followed_and_writes_no_more(stores, standby, url):
    leader = stores()
    wait_until(standby.took_over, within_s=60)
    standby.store.open()
    silent = standby.store
    silent.lead._closed.set()  # no beat any more, as of a process that is paused
    silent.lead._keeper.join()
    other = Standby(leader)
    assert other.took_over() is True
    leader.open()
    leader.write([row(1)])
    assert not silent.leads()
    for attempt in (lambda: silent.write([row(2)]), lambda: silent.compact(1, "{}")):
        with pytest.raises(BackendUnavailable):
            attempt()
        with pytest.raises(LeadLost, match="another service leads"):
            attempt()
    with pytest.raises(LeadLost):
        silent.notes.keep({"name": "text"})
    assert "another service leads" in silent.lost()
    assert [fact.seq for fact in reader(url).read()] == [1]


def test_a_commit_under_way_holds_up_a_takeover_and_a_beat_goes_on(stores, postgres, url):
    leader = stores()
    leader.open()
    with leader._transaction(60), postgres.connect(url.rpartition("/")[2]) as person:
        before = person.execute("SELECT beat FROM leader").fetchone()
        wait_until(lambda: person.execute("SELECT beat FROM leader").fetchone() > before, within_s=60)
        person.execute("SET lock_timeout = '100ms'")
        with pytest.raises(Exception, match="lock timeout"):
            person.execute("UPDATE leader SET epoch = epoch + 1")


def test_a_database_that_hangs_deposes_nobody(stores, postgres, url):
    leader = stores()
    leader.open()
    standby = Standby(stores())
    with postgres.paused():
        wait_until(lambda: not leader.leads(), within_s=60, what="the end of the lease")
        with pytest.raises(BackendUnavailable):
            leader.write([row(1)])
    wait_until(leader.leads, within_s=60, what="the lease")
    leader.write([row(1)])
    assert leader.lost() is None
    assert standby.give_up() is False
    assert [fact.seq for fact in reader(url).read()] == [1]


def test_after_a_database_was_away_its_leader_has_time_to_come_back():
    """It may have begun to connect while the database said nothing, and that has to run out first."""
    waiting, leader = _leadership._Waiting(LEASE_S), SimpleNamespace(epoch=1, beat=7, holder="a")
    now_s = _leadership.clock_s()
    assert not waiting.is_over(leader, now_s=now_s)
    assert waiting.is_over(leader, now_s=now_s + LEASE_S + 0.1)
    waiting.was_away()
    assert not waiting.is_over(leader, now_s=now_s)
    assert not waiting.is_over(leader, now_s=now_s + LEASE_S + 0.1)
    assert waiting.holds_off(now_s + LEASE_S + 0.1)
    assert waiting.is_over(leader, now_s=now_s + LEASE_S + 60)


def test_a_leader_that_loses_the_session_of_its_lock_takes_it_anew(stores, postgres, url):
    leader = stores()
    leader.open()
    leader.write([row(1)])
    standby = Standby(stores())
    lock = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database <> 0 AND granted"
    postgres.ask(url, lock)
    before = postgres.ask(url, "SELECT beat FROM leader")
    wait_until(lambda: postgres.ask(url, "SELECT beat FROM leader") > before, within_s=60, what="a beat")
    leader.write([row(2)])
    assert standby.give_up() is False


def test_a_reader_of_an_epoch_reads_nothing_of_the_next(stores):
    leader = stores()
    leader.open()
    leader.write([row(1)])
    with contextlib.closing(reader(leader.reader_url)) as of_epoch:
        assert of_epoch.last_seq() == 1
        leader.close()
        stores().open()
        with pytest.raises(LeadLost):
            of_epoch.last_seq()


def test_keys_and_notes_are_shared(stores):
    first = stores()
    first.open()
    first.notes.keep({"a": "1", "b": "2"})
    first.notes.keep({"a": "3", "b": None})
    assert first.notes.with_lines(["x", "y"]) == ["x", "y"]
    first.close()
    second = stores()
    second.open()
    assert second.notes.read() == {"a": "3"}
    assert second.notes.with_lines(["z", "x"]) == ["x", "y", "z"]


def test_an_older_journal_is_brought_up_to_date_as_a_whole(stores, postgres, url, monkeypatch):
    first = stores()
    first.open()
    first.write([row(1)])
    first.close()
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 4)
    monkeypatch.setattr(schema, "MIGRATIONS", {2: ["CREATE TABLE second (n INTEGER)"], 3: ["no SQL"]})
    with pytest.raises(UsageError, match="cannot be used"):
        stores().open()
    assert postgres.ask(url, "SELECT to_regclass('second')") == [(None,)]
    monkeypatch.setattr(schema, "MIGRATIONS", {2: ["CREATE TABLE second (n INTEGER)"], 3: ["DROP TABLE second"]})
    assert stores().open() == (1, 0, 0)
    assert postgres.ask(url, "SELECT value FROM meta WHERE key = 'schema_version'") == [("4",)]


def test_what_brains_were_told_comes_out_of_a_snapshot_of_before(stores, postgres, url):
    first = stores()
    first.open()
    first.write([row(seq) for seq in range(1, 5)])
    time = "2026-11-30T10:00:00+00:00"
    facts = [[1, "ingest", time, {"points": [{"x": 1.50, "s": 1e300}]}], [3, "config", time, {"variable": "é"}]]
    first.compact(3, json.dumps({"agents": {"a": {"facts": facts}, "b": {"facts": []}}}))
    first.close()
    for statement in ("DROP TABLE told", "DROP INDEX facts_by_suggestion", "UPDATE meta SET value = '1'"):
        postgres.ask(url, statement)
    with contextlib.closing(stores()) as again:
        assert again.open() == (4, 3, 3)
        found = [[one.seq, one.kind, one.time.isoformat(), one.data] for one in again.told("a")]
    assert found == facts


@pytest.fixture
def older(stores, postgres, url, monkeypatch):
    """A journal with a fact, of a version before; its upgrade waits as long as the connection has its lock."""
    with contextlib.closing(stores()) as first:
        first.open()
        first.write([row(1)])
    waits = ["SET LOCAL lock_timeout = 0", "SELECT pg_advisory_xact_lock(4711)"]
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(schema, "MIGRATIONS", {2: waits})
    monkeypatch.setattr(_upgrade_log, "SAYS_EVERY_S", 0.1)
    with postgres.connect(url.rpartition("/")[2]) as person:
        person.execute("SELECT pg_advisory_lock(4711)")
        yield person


def test_an_upgrade_that_takes_longer_than_a_lease_says_so_and_nobody_takes_over(stores, older, caplog):
    leader, opened = stores(), []
    upgrading = threading.Thread(target=lambda: opened.append(leader.open()))
    upgrading.start()
    wait_until(lambda: "step 2 of 2" in caplog.text, within_s=60)
    standby = Standby(stores())
    [(began,)] = older.execute("SELECT beat FROM leader")
    wait_until(lambda: older.execute("SELECT beat FROM leader").fetchone()[0] > began + 9, within_s=60)  # three leases
    assert standby.leads is None
    assert leader.leads()
    older.execute("SELECT pg_advisory_unlock(4711)")
    upgrading.join(60)
    assert opened == [(1, 0, 0)]
    assert "from version 2 to 3; its facts: 1; this takes some 1 s" in caplog.text
    assert "is up to date, after" in caplog.text
    leader.write([row(2)])
    assert standby.give_up() is False


DIES = """
import sys
from agent_service.journal import PostgresStore, _postgres_schema as schema
schema.SCHEMA_VERSION, schema.MIGRATIONS = 3, {2: [*sys.argv[2:]]}
PostgresStore(sys.argv[1], lease_s=1).open()
"""


def test_of_a_leader_that_is_killed_while_it_upgrades_nothing_stays_and_the_standby_upgrades(
    stores, older, postgres, url, monkeypatch
):
    statements = ["CREATE TABLE third (n INTEGER)", *schema.MIGRATIONS[2]]
    leader = subprocess.Popen([sys.executable, "-c", DIES, url, *statements])
    waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4711"
    wait_until(lambda: postgres.ask(url, waits), within_s=60)
    standby = Standby(stores())
    leader.kill()
    leader.wait(60)
    assert standby.took_over() is True
    monkeypatch.setattr(schema, "MIGRATIONS", {2: statements[:1]})
    assert standby.store.open() == (1, 0, 0)
    assert postgres.ask(url, "SELECT count(*) FROM third") == [(0,)]
    standby.store.write([row(2)])


@pytest.mark.parametrize(("version", "said"), [("9", "newer agent-service"), ("x", "never was")])
def test_a_journal_of_an_unknown_version_is_refused(stores, postgres, url, version, said):
    stores().open()
    postgres.ask(url, "UPDATE meta SET value = %s WHERE key = 'schema_version'", version)
    with pytest.raises(UsageError, match=said):
        stores().open()


def test_a_copy_that_was_cut_short_is_refused(stores):
    first = stores()
    first.open()
    first.write([row(5)])
    first.close()
    with pytest.raises(UsageError, match="cut short"):
        stores().open()


def test_a_database_that_is_not_there_is_said_and_its_password_is_not():
    with (
        contextlib.closing(PostgresStore("postgresql://me:secret@127.0.0.1:9/none")) as store,
        pytest.raises(BackendUnavailable, match=r"//me@127\.0\.0\.1:9/none cannot be used") as caught,
    ):
        store.open()
    assert "secret" not in str(caught.value)


def test_a_database_without_every_character_is_refused_and_the_command_that_makes_one_is_named(postgres):
    with postgres.connect() as person:
        person.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
        person.execute("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0")
    for name in ("latin", "bytes"):
        url = f"postgresql://{postgres.address(name).partition('://')[2]}"
        with (
            contextlib.closing(PostgresStore(url)) as store,
            pytest.raises(UsageError, match=f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"),
        ):
            store.open()


def test_a_server_that_is_too_old_is_refused(stores, monkeypatch):
    monkeypatch.setattr(schema, "_OLDEST", 990000)
    with pytest.raises(UsageError, match=r"its server is PostgreSQL \d+.*; 13 or newer is needed"):
        stores().open()


def test_a_database_that_is_read_only_is_waited_for(stores, postgres, url):
    """It may be a replica that another one will follow as the primary."""
    name = url.rpartition("/")[2]
    with postgres.connect() as person:
        person.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(BackendUnavailable, match="give the address of the primary server"):
            stores().open()
        standby = Standby(stores())
        person.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert standby.took_over() is True


def test_a_user_who_may_make_no_tables_is_told_whose_the_database_has_to_be(postgres, url):
    name = url.rpartition("/")[2]
    with postgres.connect() as person:
        person.execute("CREATE USER guest")
    with (
        contextlib.closing(PostgresStore(url.replace("agents@", "guest@"))) as store,
        pytest.raises(UsageError, match=f"ALTER DATABASE {name} OWNER TO guest"),
    ):
        store.open()


def test_a_standby_says_once_why_it_waits_and_when_that_is_over(postgres, url, monkeypatch, caplog):
    looked = []
    monkeypatch.setattr(_leadership, "_LOOKS_EVERY_S", 0.01)
    monkeypatch.setattr(_leadership, "prepare", lambda engine: looked.append(engine) or schema.prepare(engine))
    name = url.rpartition("/")[2]
    with contextlib.closing(PostgresStore(url.replace(name, f"{name}_later"), lease_s=LEASE_S)) as store:
        standby = Standby(store)
        wait_until(lambda: len(looked) > 5, within_s=60)
        assert caplog.text.count("does not exist") == 1
        with postgres.connect() as person:
            person.execute(f"CREATE DATABASE {name}_later")
        assert standby.took_over() is True
    assert caplog.text.count("the journal can be used again") == 1


def test_a_copy_of_many_facts_has_time_for_each(stores, postgres, url, monkeypatch):
    monkeypatch.setattr(_postgres, "LONG_S", 1.0)
    store = stores()
    store.open()
    slow = (
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$"
    )
    postgres.ask(url, slow)
    postgres.ask(url, "CREATE TRIGGER slow AFTER INSERT ON facts EXECUTE FUNCTION slow()")
    store.write([row(seq) for seq in range(1, 10_001)])
    assert store.last_seq() == 10_000


def test_a_server_that_ends_a_connection_as_idle_while_tables_are_looked_for_is_away(postgres, url, monkeypatch):
    """So does one that hung in the middle of it; who waits to lead tries again."""
    looks = schema.version_of

    def late(connection, where):
        connection.execute(sa.text("SET idle_in_transaction_session_timeout = '1ms'"))
        idle = "SELECT 1 FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        wait_until(lambda: not postgres.ask(url, idle), what="the end of the connection")
        return looks(connection, where)

    monkeypatch.setattr(schema, "version_of", late)
    with pytest.raises(BackendUnavailable, match="cannot be used"):
        schema.prepare(schema.open_engine(url, pooled=False))
