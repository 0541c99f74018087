"""Runs that ended are known across restarts, also when a kill came between any two steps of their end."""

import pytest
from run_documents import documents

from agent_service.documents import ended_runs
from agent_service.documents.ended_runs import EndedRuns
from agent_service.documents.spool import Spool


def spool_in(folder, *, catalogued=False):
    return Spool(folder / "spool", catalogued=catalogued, ended_runs=EndedRuns(folder / "spool" / "ended"))


@pytest.mark.parametrize("catalogued", [True, False])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_run_that_ended_is_known_after_a_restart_wherever_it_went(tmp_path, catalogued, elsewhere) -> None:
    spool = spool_in(tmp_path, catalogued=catalogued)
    for pair in documents("r1"):
        spool.write(*pair, "r1", elsewhere=elsewhere)
    for path in spool.complete():  # as the archive does
        spool.archived(path, {})
    assert spool_in(tmp_path).ended() == {"r1"}


def test_a_kill_before_its_file_was_moved_ends_it_at_the_next_start(tmp_path, monkeypatch) -> None:
    spool = spool_in(tmp_path)
    monkeypatch.setattr(spool, "_finish", lambda path: None)
    for pair in documents("r1"):
        spool.write(*pair, "r1", elsewhere=True)
    again = spool_in(tmp_path)
    assert again.open_elsewhere() == []
    assert again.ended() == {"r1"}
    (path,) = again.complete()
    assert [name for name, _ in again.read(path)] == ["start", "descriptor", "event", "event", "stop"]


def test_the_file_is_kept_short(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ended_runs, "MAX_ENDED_RUNS", 3)
    monkeypatch.setattr(ended_runs, "_MAX_LINES", 5)
    log = EndedRuns(tmp_path / "ended")
    assert log.read() == []
    for number in range(6):
        log.add(f"r{number}")
    assert log.read() == ["r3", "r4", "r5"]
    assert (tmp_path / "ended").read_text() == "r3\nr4\nr5\n"
    log.add("r6")
    assert log.read() == ["r4", "r5", "r6"]
