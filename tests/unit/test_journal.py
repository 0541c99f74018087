"""The journal: in order, durable before it is told, and honest when it cannot write."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from disks import largest_file
from headless_service import service
from sqlalchemy.exc import OperationalError

from agent_service.context import be_patient
from agent_service.errors import BackendUnavailable, InvalidInput, UsageError
from agent_service.journal import JournalLog, SqliteStore, _sqlite_schema as journal_file, reader
from agent_service.journal._sqlite_schema import SCHEMA_VERSION
from agent_service.models import EventKind

LOG = EventKind.CONFIG


@pytest.fixture
async def journal(tmp_path):
    one = JournalLog(SqliteStore(tmp_path / "journal.db"))
    one.open()
    yield one
    await one.close()


async def test_facts_are_numbered_without_holes_and_read_back(journal):
    for n in range(5):
        event = await journal.append(LOG, "a" if n % 2 else None, {"n": n})
        assert event.seq == n + 1
    found = await asyncio.to_thread(journal.read)
    assert [one.seq for one in found] == [1, 2, 3, 4, 5]
    assert [one.data["n"] for one in found] == [0, 1, 2, 3, 4]
    assert [one.data["n"] for one in journal.read(agent="a")] == [1, 3]
    assert [one.seq for one in journal.read(after=2, limit=2)] == [3, 4]
    assert [one.seq for one in journal.read(newest_first=True, limit=2)] == [5, 4]
    assert [one.seq for one in journal.read(newest_first=True, after=4, limit=2)] == [3, 2]
    assert journal.read(kinds=[EventKind.REPORT]) == []


async def test_posts_keep_their_order(journal):
    posted = [journal.post(LOG, None, {"n": n}) for n in range(200)]
    events = await asyncio.gather(*posted)
    assert [one.seq for one in events] == list(range(1, 201))
    assert [one.data["n"] for one in journal.read()] == list(range(200))


async def test_a_fact_is_applied_and_told_only_when_it_is_on_disk(journal, tmp_path):
    seen = []
    journal.on_commit(lambda event: seen.append((event.seq, len(reader(f"sqlite:///{tmp_path}/journal.db").read()))))
    await asyncio.gather(*[journal.post(LOG, None, {}) for _ in range(20)])
    assert [seq for seq, _ in seen] == list(range(1, 21))
    assert all(on_disk >= seq for seq, on_disk in seen)


async def test_followers_get_the_past_then_the_present_each_once(journal):
    for n in range(3):
        await journal.append(LOG, None, {"n": n})
    found = []

    async def follow():
        async for event in journal.follow(after=1):
            found.append((event.seq, event.kind))
            if len(found) == 5:
                return

    reading = asyncio.create_task(follow())
    await asyncio.sleep(0)  # the follower is there
    journal.publish(EventKind.PROGRESS, None, {})
    while len(found) < 3:  # it has caught up: only the present is left
        await asyncio.sleep(0)
    await journal.append(LOG, None, {"n": 3})
    await journal.append(LOG, None, {"n": 4})
    await asyncio.wait_for(reading, 5)
    assert found == [(2, LOG), (3, LOG), (None, EventKind.PROGRESS), (4, LOG), (5, LOG)]


async def test_a_reader_that_is_too_slow_is_dropped(journal, monkeypatch):
    monkeypatch.setattr("agent_service.journal._followers.FOLLOWER_CAPACITY", 4)
    events = journal.follow(after=0)
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)  # the follower is there
    journal.publish(EventKind.PROGRESS, None, {})
    assert (await first).seq is None  # it has caught up
    await asyncio.gather(*[journal.post(LOG, None, {}) for _ in range(9)])
    assert [one.seq async for one in events] == [1, 2, 3, 4]


async def test_it_goes_on_where_it_ended(tmp_path):
    for n in range(3):
        journal = JournalLog(SqliteStore(tmp_path / "journal.db"))
        journal.open()
        assert journal.last_seq == n
        await journal.append(LOG, None, {})
        await journal.close()


async def test_a_journal_of_a_newer_program_is_refused(tmp_path):
    journal = JournalLog(SqliteStore(tmp_path / "journal.db"))
    journal.open()
    await journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as file:
        file.execute("update meta set value = ? where key = 'schema_version'", (str(SCHEMA_VERSION + 1),))
    file.close()
    newer = JournalLog(SqliteStore(tmp_path / "journal.db"))
    with pytest.raises(UsageError, match="upgrade it"):
        newer.open()
    await newer.close()


@pytest.mark.parametrize("version", ["0", "-1", "two", ""])
async def test_a_version_there_never_was_is_refused(tmp_path, version):
    journal = JournalLog(SqliteStore(tmp_path / "journal.db"))
    journal.open()
    await journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as file:
        file.execute("update meta set value = ? where key = 'schema_version'", (version,))
    file.close()
    damaged = JournalLog(SqliteStore(tmp_path / "journal.db"))
    with pytest.raises(UsageError, match="it is damaged"):
        damaged.open()
    await damaged.close()


async def test_a_file_that_is_no_journal_is_refused(tmp_path):
    (tmp_path / "journal.db").write_text("this is no database, and it is long enough to tell" * 100)
    journal = JournalLog(SqliteStore(tmp_path / "journal.db"))
    with pytest.raises(UsageError, match="cannot be used"):
        journal.open()
    await journal.close()


async def test_what_cannot_be_written_is_not_acknowledged_and_leaves_no_hole(journal, tmp_path):
    applied = []
    journal.on_commit(lambda event: applied.append(event.seq))
    await journal.append(LOG, None, {})
    locker = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    locker.execute("alter table facts rename to elsewhere")
    with pytest.raises(BackendUnavailable, match="cannot be written"):
        await journal.append(LOG, None, {})
    locker.execute("alter table elsewhere rename to facts")
    locker.close()
    assert (await journal.append(LOG, None, {})).seq == 2
    assert applied == [1, 2]


async def test_nan_never_gets_into_it(journal):
    for bad in (float("nan"), "\ud800"):
        with pytest.raises(InvalidInput, match="JSON in UTF-8"):
            await journal.append(LOG, None, {"x": bad})


async def test_a_closed_journal_refuses(tmp_path):
    journal = JournalLog(SqliteStore(tmp_path / "journal.db"))
    journal.open()
    await journal.close()
    with pytest.raises(BackendUnavailable):
        await journal.append(LOG, None, {})


def test_reading_another_process_s_journal_that_is_not_there(tmp_path):
    assert reader(f"sqlite:///{tmp_path}/journal.db").read() == []


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    script = """
import asyncio, sys
from pathlib import Path
from agent_service.journal import JournalLog, SqliteStore
from agent_service.models import EventKind
async def main():
    journal = JournalLog(SqliteStore(Path(sys.argv[1])))
    journal.open()
    while True:
        event = await journal.append(EventKind.CONFIG, None, {"pad": "x" * 200})
        print(event.seq, flush=True)
asyncio.run(main())
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "journal.db")], stdout=subprocess.PIPE, text=True
    )
    with child:
        for line in child.stdout:
            if int(line) >= 200:
                os.kill(child.pid, signal.SIGKILL)
                break
        acknowledged = int((line + child.stdout.read()).split("\n")[-2] or line)
    facts = reader(f"sqlite:///{tmp_path}/journal.db").read(limit=100_000)
    assert [one.seq for one in facts] == list(range(1, len(facts) + 1))
    assert len(facts) >= acknowledged >= 200


# a full disk --------------------------------------------------------------------------------------------------------


async def patiently(journal, data):
    be_patient()
    return await journal.append(LOG, None, data)


async def fault(journal, there):
    async with asyncio.timeout(10):
        while bool(journal.fault) != there:
            await asyncio.sleep(0.01)


async def test_a_full_disk_refuses_requests_and_the_service_itself_waits(journal, tmp_path):
    await journal.append(LOG, None, {"n": 0})
    faults = []
    journal.on_fault(lambda: faults.append(journal.fault))
    with largest_file((tmp_path / "journal.db-wal").stat().st_size):
        waiting = [asyncio.create_task(patiently(journal, {"n": n})) for n in (1, 2)]
        await fault(journal, there=True)
        with pytest.raises(BackendUnavailable, match="cannot be written: disk I/O error; nothing was acknowledged"):
            await journal.append(LOG, None, {"n": "refused"})
        assert [one.done() for one in waiting] == [False, False]
        assert len(reader(f"sqlite:///{tmp_path}/journal.db").read()) == journal.last_seq == 1
    assert [event.seq for event in await asyncio.gather(*waiting)] == [2, 3]
    assert (await journal.append(LOG, None, {"n": 3})).seq == 4
    assert [one.data["n"] for one in journal.read()] == [0, 1, 2, 3]
    assert journal.fault is None
    assert faults == ["disk I/O error", None]


async def test_it_finds_out_by_itself_that_there_is_space_again(journal, tmp_path):
    await journal.append(LOG, None, {})
    with largest_file((tmp_path / "journal.db-wal").stat().st_size):
        with pytest.raises(BackendUnavailable):
            await journal.append(LOG, None, {})
        assert journal.fault
    await fault(journal, there=False)
    assert (await journal.append(LOG, None, {})).seq == 2


async def test_closing_gives_up_what_waits(tmp_path):
    journal = JournalLog(SqliteStore(tmp_path / "journal.db"))
    journal.open()
    await journal.append(LOG, None, {})
    with largest_file((tmp_path / "journal.db-wal").stat().st_size):
        waiting = asyncio.create_task(patiently(journal, {}))
        await fault(journal, there=True)
        await journal.close()
        with pytest.raises(BackendUnavailable):
            await waiting
    assert len(reader(f"sqlite:///{tmp_path}/journal.db").read()) == 1


async def test_a_commit_that_failed_and_came_to_pass_is_a_fact_once(journal, monkeypatch):
    applied = []
    journal.on_commit(lambda event: applied.append(event.data["n"]))
    insert, times = journal._store._insert, []

    def lost_answer(batch):
        insert(batch)
        times.append(batch)
        if len(times) == 1:
            raise OperationalError("commit", None, OSError("the disk did not answer"))

    monkeypatch.setattr(journal._store, "_insert", lost_answer)
    patient = asyncio.create_task(patiently(journal, {"n": "patient"}))
    async with asyncio.timeout(10):
        assert (await patient).seq == 1
    assert (await journal.append(LOG, None, {"n": "later"})).seq == 2
    assert applied == [one.data["n"] for one in journal.read()] == ["patient", "later"]


@pytest.mark.parametrize("later", [1, 2, 3])
async def test_a_commit_in_doubt_is_looked_at_after_more_faults_and_more_facts(journal, tmp_path, monkeypatch, later):
    """The files are moved away right after a commit; facts come meanwhile; then the files are put back."""
    applied = []
    journal.on_commit(lambda event: applied.append(event.data["n"]))
    insert, moved = journal._store._insert, tmp_path / "moved"
    moved.mkdir()

    def and_move_away(batch):
        insert(batch)
        if batch:
            for part in tmp_path.glob("journal.db*"):
                part.rename(moved / part.name)

    take, waits, batch = journal._writer._next_batch, asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def both_at_once():
        loop.call_soon_threadsafe(waits.set)
        while len(batch) < 2:
            batch.extend(take())
            if len(batch) >= 2:
                return batch
        return take()

    monkeypatch.setattr(journal._writer, "_next_batch", both_at_once)
    await waits.wait()
    monkeypatch.setattr(journal._store, "_insert", and_move_away)
    both = asyncio.gather(  # they share a commit
        asyncio.create_task(patiently(journal, {"n": "patient"})),
        asyncio.create_task(journal.append(LOG, None, {"n": "refused"})),
        return_exceptions=True,
    )
    await fault(journal, there=True)
    monkeypatch.setattr(journal._store, "_insert", insert)
    look = journal._store._files.lost
    looked = asyncio.Event()

    def files_lost():
        loop.call_soon_threadsafe(looked.set)
        return look()

    more = [asyncio.create_task(patiently(journal, {"n": n})) for n in range(later)]
    await asyncio.sleep(0)
    monkeypatch.setattr(journal._store._files, "lost", files_lost)
    for _ in range(2):  # the attempt that takes them fails too
        looked.clear()
        await looked.wait()
    for part in moved.iterdir():
        part.rename(tmp_path / part.name)
    async with asyncio.timeout(10):
        patient, refused = await both
        written = await asyncio.gather(*more)
    assert patient.seq == 1
    assert isinstance(refused, BackendUnavailable)
    assert [one.seq for one in written] == list(range(3, 3 + later))
    assert applied == [one.data["n"] for one in journal.read()] == ["patient", "refused", *range(later)]


async def test_facts_that_belong_together_are_written_all_or_none(journal):
    posted = journal.post_together("a", [(LOG, {"n": n}) for n in range(3)])
    assert [one.seq for one in await asyncio.gather(*posted)] == [1, 2, 3]
    with pytest.raises(InvalidInput):
        journal.post_together("a", [(LOG, {"n": 3}), (LOG, {"n": float("nan")})])
    assert (await journal.append(LOG, None, {})).seq == 4


# versions -----------------------------------------------------------------------------------------------------------

VERSION_1 = Path(__file__).with_name("journal_v1.sql").read_text()


@pytest.fixture
def old(tmp_path):
    """A journal of version 1, as the program of that time wrote it."""
    with sqlite3.connect(tmp_path / "journal.db") as file:
        file.executescript(VERSION_1)
    file.close()
    return tmp_path / "journal.db"


def dump(path):
    file = sqlite3.connect(path)
    try:
        return "\n".join(file.iterdump()) + "\n"
    finally:
        file.close()


async def test_a_journal_of_version_1_is_brought_up_to_date_and_says_the_same(old, caplog):
    async with service(old) as rooms:
        assert rooms.journal.last_seq == 18
        walker = rooms.supervisor.agent("walker")
        assert list(rooms.supervisor.lives) == ["walker"]  # the other one was removed
        assert [one.state for one in walker.record.suggestions.values()] == ["ingested", "proposed"]
        assert rooms.supervisor.queue.held
        await rooms.supervisor.recover({})
        async with asyncio.timeout(10):
            while walker.record.state != "paused":
                await walker.changed()
        assert (walker.brain.variables["gain"].value, walker.brain.variables["seen"].value) == (2.5, 2)
        assert rooms.journal.read(limit=1)[0].seq == 1
    assert f"is brought up to date, from version 1 to {SCHEMA_VERSION}" in caplog.text
    assert "is up to date, after" in caplog.text
    assert dump(old.with_name("journal.db.v1")) == VERSION_1
    assert f"('schema_version','{SCHEMA_VERSION}')" in dump(old)
    assert old.with_name("journal.db.v1").stat().st_mode & 0o077 == 0
    async with service(old):  # the second time there is nothing to do
        pass


async def test_a_migrated_journal_has_the_tables_of_a_new_one(old, tmp_path):
    def tables(path):
        with sqlite3.connect(path) as file:
            names = [name for (name,) in file.execute("select name from sqlite_master where type = 'table' order by 1")]
            found = {name: file.execute(f"pragma table_info({name})").fetchall() for name in names}
        file.close()
        return found

    async with service(old), service(tmp_path / "new.db"):
        assert tables(old) == tables(tmp_path / "new.db")


async def test_a_migration_that_fails_leaves_the_journal_as_it_was(old, monkeypatch):
    broken = ("CREATE TABLE half (x)", "this is no SQL")
    monkeypatch.setattr(journal_file, "MIGRATIONS", {**journal_file.MIGRATIONS, 1: broken})
    journal = JournalLog(SqliteStore(old))
    with pytest.raises(UsageError, match="cannot be used"):
        journal.open()
    await journal.close()
    assert dump(old) == VERSION_1
    monkeypatch.undo()
    async with service(old) as rooms:
        assert rooms.journal.last_seq == 18


async def test_every_version_has_a_way_to_the_next():
    assert sorted(journal_file.MIGRATIONS) == list(range(1, SCHEMA_VERSION))
