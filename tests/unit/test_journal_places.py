"""Where a journal may be: copied from one place to another, with what is kept beside it."""

import contextlib
import json
import subprocess
import sys

import pytest

from agent_service.errors import ServiceError, UsageError
from agent_service.journal import JournalLog, PostgresStore, SqliteStore, reader
from agent_service.models import EventKind
from agent_service.service.journal_copy import copy_journal
from agent_service.service.keys import KeyFile, Scope
from agent_service.service.shared_files import SharedFiles
from agent_service.state_dir import StateDir


@pytest.fixture
def url(postgres):
    return postgres.database()


async def written(state):
    with state:
        log = JournalLog(SqliteStore(state.journal))
        log.open()
        await log.append(EventKind.REPORT, "a", {"n": 0})
        await log.append(EventKind.INGEST, "a", {"points": [{"x": 1.50}]})
        for n in range(2, 5):
            await log.append(EventKind.REPORT, "a", {"n": n, "text": "\u0000 é"})
        await log.compact('{"n":1}', seq=2)
        await log.close()
    KeyFile(state.keys_file).create("alice", [Scope.READ])
    state.catalog_cursor.write_text(json.dumps({"seq": 3}))


def known(url):
    journal = reader(url)
    facts = [(fact.seq, fact.time, fact.kind, fact.data) for fact in (*journal.told(), *journal.read())]
    return facts, journal.snapshot()


async def test_a_journal_goes_into_a_database_and_back(tmp_path, url):
    there, back = StateDir(tmp_path / "there"), StateDir(tmp_path / "back")
    await written(there)
    assert copy_journal(str(there.path), url) == (3, 5)
    assert known(url) == known(there.journal_url)
    assert [fact.seq for fact in reader(url).told("a")] == [2]
    assert copy_journal(url, str(back.path)) == (3, 5)
    assert known(back.journal_url) == known(there.journal_url)
    assert KeyFile(back.keys_file).read() == KeyFile(there.keys_file).read()
    assert json.loads(back.catalog_cursor.read_text()) == {"seq": 3}
    with contextlib.closing(PostgresStore(url)) as store:
        assert store.open() == (5, 2, 2)


@pytest.mark.parametrize("wrong", ["{here}", "{here}/.", "{here}/../here"])
async def test_a_journal_is_not_copied_onto_itself(tmp_path, wrong):
    here = StateDir(tmp_path / "here")
    await written(here)
    with pytest.raises(UsageError, match="are the same place"):
        copy_journal(str(here.path), wrong.format(here=here.path))


def test_a_database_is_not_copied_onto_itself(url):
    with pytest.raises(UsageError, match="are the same place"):
        copy_journal(url, url.replace("+psycopg", ""))


def test_of_a_place_without_a_journal_nothing_is_made(tmp_path, postgres, url):
    for source in (str(tmp_path / "slip"), url):
        with pytest.raises(UsageError, match="holds no journal"):
            copy_journal(source, str(tmp_path / "new"))
    assert list(tmp_path.iterdir()) == []
    assert postgres.ask(url, "SELECT to_regclass('meta')") == [(None,)]


async def test_another_database_is_no_place(tmp_path):
    there = StateDir(tmp_path / "there")
    await written(there)
    with pytest.raises(UsageError, match=r"looks like postgresql\+psycopg://USER@HOST/DATABASE"):
        copy_journal(str(there.path), "mysql://me@db/beamline")


async def test_nothing_is_copied_over_a_journal_or_from_nothing(tmp_path, url):
    there = StateDir(tmp_path / "there")
    with pytest.raises(UsageError, match="holds no journal"):
        copy_journal(str(there.path), url)
    await written(there)
    copy_journal(str(there.path), url)
    with pytest.raises(UsageError, match="holds a journal already, up to fact 5"):
        copy_journal(str(there.path), url)
    with there, pytest.raises(UsageError, match="in use by another service"):
        copy_journal(str(there.path), url)


def test_small_files_follow_the_lead_and_keys_go_both_ways(tmp_path, url):
    first, second = (StateDir(tmp_path / name) for name in ("first", "second"))
    with contextlib.closing(PostgresStore(url)) as store, first, second:
        store.open()
        here, there = SharedFiles(first, store.notes), SharedFiles(second, store.notes)
        KeyFile(first.keys_file).create("alice", [Scope.READ])
        KeyFile(second.keys_file).create("bob", [Scope.CONTROL])
        here.look()
        there.look()
        here.look()
        assert [key.name for key in KeyFile(first.keys_file).read().keys] == ["alice", "bob"]
        assert {key.name for key in KeyFile(second.keys_file).read().keys} == {"alice", "bob"}
        KeyFile(second.keys_file).revoke("alice")
        there.look()
        here.look()
        assert [key.name for key in KeyFile(first.keys_file).read().keys] == ["bob"]
        here.take()
        first.catalog_cursor.write_text("7")
        first.arrival.touch()
        here.look()
        second.served_file.write_text("of a service before")
        there.take()
        assert (second.catalog_cursor.read_text(), second.arrival.exists()) == ("7", True)
        assert not second.served_file.exists()
        second.arrival.unlink()
        there.look()
        here.take()
        assert not first.arrival.exists()


def test_a_state_directory_knows_where_its_journal_is_but_no_password(tmp_path):
    with StateDir(tmp_path / "state") as state:
        assert state.journal_url.startswith("sqlite:///")
        state.keep_journal_url("postgresql://me:secret@db/beamline")
        assert state.journal_url == "postgresql://me:secret@db/beamline"
        assert StateDir(state.path).journal_url == "postgresql://me@db/beamline"
        state.keep_journal_url(None)
        assert StateDir(state.path).journal_url.startswith("sqlite:///")


@pytest.mark.parametrize(
    "rest",
    [":7Q@127.0.0.1:1/x", ":7/7Q@127.0.0.1:1/x", ":7@7Q@127.0.0.1:1/x", "@127.0.0.1:1/x?password=7Q&sslpassword=7Q"],
)
def test_no_password_is_shown_or_kept(tmp_path, rest):
    url = f"postgresql://me{rest}"
    for source, target in ((url, url), (url, str(tmp_path / "new"))):
        with pytest.raises(ServiceError) as refused:
            copy_journal(source, target)
        assert "7Q" not in refused.value.detail
    with StateDir(tmp_path / "state") as state:
        state.keep_journal_url(url)
        assert StateDir(state.path).journal_url == "postgresql://me@127.0.0.1:1/x"


def test_nothing_of_postgresql_is_imported_where_it_is_not_used(tmp_path):
    script = """
import sys, asyncio
from agent_service.launch.uvicorn_server import run
from agent_service.service import compose
from agent_service.service.config import ServiceConfig
from agent_service.journal import SqliteStore
SqliteStore(__import__("pathlib").Path(sys.argv[1])).open()
assert not [name for name in sys.modules if name.startswith("psycopg")]
"""
    subprocess.run([sys.executable, "-c", script, tmp_path / "journal.db"], check=True)
