"""The journal: in order, durable before it is told, and honest when it cannot write."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from agent_service.errors import BackendUnavailable, InvalidInput, UsageError
from agent_service.journal import SCHEMA_VERSION, SqlJournal, read_facts
from agent_service.models import EventKind

LOG = EventKind.CONFIG


@pytest.fixture
async def journal(tmp_path):
    one = SqlJournal(tmp_path / "journal.db")
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
    journal.on_commit(lambda event: seen.append((event.seq, len(read_facts(tmp_path / "journal.db")))))
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
    monkeypatch.setattr("agent_service.journal.FOLLOWER_CAPACITY", 4)
    events = journal.follow(after=0)
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)  # the follower is there
    journal.publish(EventKind.PROGRESS, None, {})
    assert (await first).seq is None  # it has caught up
    await asyncio.gather(*[journal.post(LOG, None, {}) for _ in range(9)])
    assert [one.seq async for one in events] == [1, 2, 3, 4]


async def test_it_goes_on_where_it_ended(tmp_path):
    for n in range(3):
        journal = SqlJournal(tmp_path / "journal.db")
        journal.open()
        assert journal.last_seq == n
        await journal.append(LOG, None, {})
        await journal.close()


async def test_a_journal_of_a_newer_program_is_refused(tmp_path):
    journal = SqlJournal(tmp_path / "journal.db")
    journal.open()
    await journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as file:
        file.execute("update meta set value = ? where key = 'schema_version'", (str(SCHEMA_VERSION + 1),))
    file.close()
    newer = SqlJournal(tmp_path / "journal.db")
    with pytest.raises(UsageError, match="upgrade it"):
        newer.open()
    await newer.close()


async def test_a_file_that_is_no_journal_is_refused(tmp_path):
    (tmp_path / "journal.db").write_text("this is no database, and it is long enough to tell" * 100)
    journal = SqlJournal(tmp_path / "journal.db")
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
    journal = SqlJournal(tmp_path / "journal.db")
    journal.open()
    await journal.close()
    with pytest.raises(BackendUnavailable):
        await journal.append(LOG, None, {})


def test_reading_another_process_s_journal_that_is_not_there(tmp_path):
    assert read_facts(tmp_path / "journal.db") == []


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    script = """
import asyncio, sys
from pathlib import Path
from agent_service.journal import SqlJournal
from agent_service.models import EventKind
async def main():
    journal = SqlJournal(Path(sys.argv[1]))
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
    facts = read_facts(tmp_path / "journal.db", limit=100_000)
    assert [one.seq for one in facts] == list(range(1, len(facts) + 1))
    assert len(facts) >= acknowledged >= 200
