"""State directories in odd places, and what others on the machine see of a service: nothing of what is secret."""

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest
from archive_rig import ask, measure
from routed import RoutedSpool
from services import running, wait_until

from agent_service.archive import Archive
from agent_service.errors import UsageError
from agent_service.journal import JournalLog, SqliteStore, reader
from agent_service.models import EventKind
from agent_service.state_dir import StateDir

ODD = [
    "a#b",
    "a?b=c&d",
    "100%25 %s",
    "with space",
    "é-測定",
    "quo'te\"d",
    "back\\slash",
    "tab\tnew\nline",
    ":memory:",
    "@x;y",
]
SECRET = "s3cr3t-key-of-the-site"


def under(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ODD)
async def test_the_journal_is_where_it_is_said_to_be(tmp_path, name):
    folder = tmp_path / name
    with StateDir(folder) as state:
        journal = JournalLog(SqliteStore(state.journal))
        journal.open()
        await journal.append(EventKind.REPORT, "a", {"n": 1})
        assert [fact.data for fact in reader(state.journal_url).read()] == [{"n": 1}]  # as another process reads it
        assert reader(state.journal_url).last_seq() == 1
        assert reader(state.journal_url).snapshot() is None
        await journal.close()
        again = JournalLog(SqliteStore(state.journal))
        again.open()
        assert again.last_seq == 1
        await again.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.long
@pytest.mark.parametrize("name", ["a#b&c 100%25", "é 測定"])
async def test_the_catalogue_is_inside_the_state_directory(tmp_path, name):
    """Written, served again by another process and read back: tables and files, at a path that no URI can say."""
    folder = tmp_path / name
    with StateDir(folder) as state:
        spool = RoutedSpool(state.spool)
        [uid] = measure(spool.write, 1, points=3)
        for _ in range(2):  # a second life finds what the first one wrote
            archive = Archive(state, catalog="embedded")
            await archive.start()
            await archive.wait_for(uid, 60)
            answer = await asyncio.to_thread(ask, folder, f"runs[{uid!r}]['primary'].read()['motor'].values.tolist()")
            assert answer == [[0.0, 0.1, 0.2]]
            await archive.stop(10)
    assert {path.name for path in under(state.catalog)} >= {"catalog.db", "storage.duckdb"}
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing lies beside it"
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in under(folder)), "for the owner's eyes only"


def test_a_place_where_the_catalogue_cannot_be_is_refused_at_the_start(tmp_path):
    folder = tmp_path / "what?"
    with pytest.raises(UsageError, match=r"no \? may stand in the path"):
        with running(folder, service={"catalog": "embedded"}):
            pass
    assert not under(folder)


def test_a_service_works_there_and_its_files_are_private(tmp_path):
    folder = tmp_path / "a#b?c%41 d"
    before = os.umask(0)  # as unkind as can be
    try:
        with running(folder, run_engine={"startup": "rig"}) as service:
            service.create("walker", loop={"max_runs": 2})
            service.post("agents/walker/start")
            service.until("walker", "stopped")
            open_now = [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in under(folder)]
    finally:
        os.umask(before)
    assert {name for name, _ in open_now} >= {"journal.db", "journal.db-wal", "api_key", "lock", "service.json"}
    assert not [name for name, mode in open_now if mode & 0o077]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_no_secret_is_on_a_command_line(tmp_path):
    catalog = f"http://bob:{SECRET}@127.0.0.1:9/api/v1?api_key={SECRET}"
    with running(
        tmp_path / "state", service={"catalog": catalog}, run_engine={"startup": "rig"}, api_key=SECRET
    ) as service:
        service.create("walker", executor="process", loop={"approval": "required"})
        service.post("agents/walker/start")
        pid = wait_until(lambda: service.server.service.archive.pid, what="the archive's process")
        families = wait_until(lambda: [*_children(os.getpid())])
        assert pid in families
        assert len(families) >= 2, "the archive's and the agents' processes are looked at"
        for child in families:
            assert SECRET.encode() not in Path(f"/proc/{child}/cmdline").read_bytes()
            assert service.server.api_key.encode() not in Path(f"/proc/{child}/cmdline").read_bytes()
    assert SECRET not in (tmp_path / "state" / "archive.log").read_text()


def _children(pid):
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from _children(int(child))


def test_a_journal_of_an_older_version_is_made_private(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    for name in ("journal.db", "api_key"):
        (state / name).touch(mode=0o644)
    (state / "elsewhere").symlink_to(sys.executable)
    with StateDir(state):
        assert [stat.S_IMODE((state / one).stat().st_mode) for one in ("journal.db", "api_key")] == [0o600, 0o600]
    assert Path(sys.executable).stat().st_mode & 0o055, "what a link leads to is left alone"
