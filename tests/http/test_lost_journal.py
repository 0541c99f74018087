"""A journal that is deleted, moved or replaced while the service runs: it says so, and nothing is acknowledged."""

import shutil
import sqlite3
import threading

import pytest
from service_process import Process
from services import running, wait_until

from agent_service.errors import BackendUnavailable, UsageError
from agent_service.journal import JournalLog, SqliteStore
from agent_service.models import EventKind
from agent_service.state_dir import StateDir


def delete_folder(path):
    while path.exists():  # the service may write into it meanwhile
        shutil.rmtree(path, ignore_errors=True)


def delete(path):
    path.unlink()


def replace(path):
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


def empty(path):
    path.unlink()
    sqlite3.connect(path).close()
    path.touch()


def away(path):
    path.rename(path.with_name("elsewhere"))


def cut(path):
    with path.open("r+b") as file:
        file.truncate(0)


LOSSES = {
    "journal.db emptied in its place": ("journal.db", cut),
    "its log emptied in its place": ("journal.db-wal", cut),
    "journal.db deleted": ("journal.db", delete),
    "journal.db replaced by a copy of itself": ("journal.db", replace),
    "journal.db replaced by an empty file": ("journal.db", empty),
    "journal.db moved": ("journal.db", away),
    "its log deleted": ("journal.db-wal", delete),
    "its log replaced": ("journal.db-wal", replace),
    "its index deleted": ("journal.db-shm", delete),
    "the lock deleted": ("lock", delete),
    "the lock replaced": ("lock", replace),
    "the folder deleted": (".", delete_folder),
    "the folder moved": (".", lambda path: path.rename(path.with_name("moved"))),
    "the folder replaced": (".", lambda path: (path.rename(path.with_name("moved")), path.mkdir())),
}


def none_under_way(suggestions):
    under_way = any(one["state"] in ("submitted", "running", "measured") for one in suggestions)
    return [] if under_way else suggestions


@pytest.mark.parametrize("what", LOSSES)
def test_nothing_is_acknowledged_and_everybody_is_told(tmp_path, what):
    state = tmp_path / "state"
    with running(state) as service:
        service.create("walker", loop={"approval": "required"})
        service.post("agents/walker/start")
        wait_until(lambda: service.suggestions("walker", state="proposed"), what="nothing more is written")
        assert service.http.get("/readyz").json()["ready"] is True
        name, lose = LOSSES[what]
        lose(state / name)
        ready = service.http.get("/readyz")  # at once: nobody has to write first
        assert ready.status_code == 503
        part = ready.json()["parts"]["journal"]
        assert part["ready"] is False
        told = part["reason"]
        assert ("lock" in told or "folder" in what) if name == "lock" else "journal.db" in told or "state" in told
        assert "start it again" in told, "what to do"
        [fault] = service.get("service")["faults"]
        assert "nothing can be acknowledged" in fault
        for path, body in (("agents/walker/suggest", {"n_points": 1}), ("agents/walker/pause", None)):
            found = service.problem("POST", path, 503, "backend_unavailable", json=body)
            assert "nothing can be acknowledged" in found["detail"]
        assert service.get("agents/walker")["state"] == "running", "what was known is known"
        wait_until(lambda: service.server.service.journal._writer.fault, what="the writer came across it by itself")


def test_the_loop_waits_and_forgets_nothing_when_the_file_is_put_back(tmp_path):
    state = tmp_path / "state"
    with running(state) as service:
        service.create("walker", loop={"max_runs": 400})
        service.post("agents/walker/start")
        wait_until(lambda: service.status("walker")["progress"]["done"] > 2)
        for part in ("journal.db", "journal.db-wal", "journal.db-shm"):
            (state / part).rename(tmp_path / part)
        assert service.http.get("/readyz").status_code == 503
        for part in ("journal.db", "journal.db-wal", "journal.db-shm"):
            (tmp_path / part).rename(state / part)
        wait_until(lambda: service.http.get("/readyz").status_code == 200, what="it goes on")
        before = service.status("walker")["progress"]["done"]
        wait_until(lambda: service.status("walker")["progress"]["done"] > before)
        service.post("agents/walker/pause")
        known = wait_until(lambda: none_under_way(service.suggestions("walker")), what="the end of the plan under way")
        done = service.status("walker")["progress"]["done"]
    # one that was approved when the pause came, is not lost: it is measured after a resume
    assert [one["state"] for one in known] == ["ingested"] * done + ["approved"] * (len(known) - done)
    assert [one["point"]["x"] for one in known] == list(range(len(known)))
    with running(state) as again:
        assert again.until("walker", "paused")["progress"]["done"] == done
        again.post("agents/walker/resume")
        wait_until(lambda: again.status("walker")["progress"]["done"] > len(known))
        assert {again.get(f"suggestions/{one['id']}")["state"] for one in known} == {"ingested"}


def test_what_was_written_is_rescued_and_the_next_start_says_how_to_go_on(tmp_path):
    state = tmp_path / "state"
    with running(state) as service:
        service.create("walker", loop={"approval": "required"})
        service.post("agents/walker/start")
        known = service.post("agents/walker/suggest", {"n_points": 3})["suggestions"]
        (state / "journal.db").unlink()
        copy = wait_until(lambda: [*state.glob("journal.rescued-*.db")], what="a copy")[0]
        fault = wait_until(lambda: copy.name in (one := service.get("service")["faults"][0]) and one)
        assert f"rename {copy.name}" in fault
    with pytest.raises(UsageError, match=r"rename that to journal.db.*or remove it"):
        with running(state):
            pass
    assert copy.stat().st_mode & 0o077 == 0
    copy.rename(state / "journal.db")
    with running(state) as again:
        assert {one["id"] for one in again.suggestions("walker")} >= {one["id"] for one in known}


def test_of_what_is_acknowledged_while_it_is_deleted_all_is_read_again(tmp_path):
    """A service in a process of its own, people who write all the time, and a deletion in between."""
    process = Process(tmp_path)
    client = process.start()
    client.create({"name": "w", "type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": [], "outcome": "signal"})
    client.start("w", paused=True)
    acknowledged, refused = [], threading.Event()

    def write(number):
        while not refused.is_set():
            try:
                acknowledged.extend(one.id for one in client.suggest("w"))
            except BackendUnavailable:
                refused.set()

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for one in writers:
        one.start()
    wait_until(lambda: len(acknowledged) > 40)
    on_disk = tmp_path / "as-it-was.db"
    (process.state / "journal.db").rename(on_disk)
    (process.state / "journal.db-wal").rename(on_disk.with_name(f"{on_disk.name}-wal"))
    assert refused.wait(20)
    for one in writers:
        one.join()
    client.close()
    process.end(9)
    there = sqlite3.connect(on_disk)
    kept = {row[0] for row in there.execute("SELECT json_extract(data, '$.id') FROM facts")}
    there.close()
    assert set(acknowledged) <= kept


async def test_the_journal_by_itself(tmp_path):
    with StateDir(tmp_path / "state") as state:
        journal = JournalLog(SqliteStore(state.journal, folder_lost=state.lost))
        journal.open()
        await journal.append(EventKind.REPORT, "a", {"n": 1})
        assert journal.fault is None
        state.journal.unlink()
        with pytest.raises(BackendUnavailable, match="deleted or moved away"):
            await journal.append(EventKind.REPORT, "a", {"n": 2})
        assert not state.journal.exists(), "no new one is made in its place"
        assert journal.last_seq == 1
        await journal.close()
