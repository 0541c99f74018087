"""A catalogue that is away for long: the service forgets as ever, and nothing is missing when it is back."""

import contextlib
import signal
import sqlite3

import pytest
from archive_rig import ask
from service_process import NOBODY, Process
from services import wait_until

from agent_service.archive.backlog import written_seq
from agent_service.journal import reader
from agent_service.models import EventKind
from agent_service.state_dir import StateDir

KEEP, SUGGESTED = 1000, 1500
LATER = [n for end in (500, 1000, 1500) for n in range(end - 100, end)]
UIDS = "[uid for run in agents.values() for uid in run['suggest'].read()['suggestion_uid'].values.tolist()]"
MEASURED = "[uid for run in agents.values() for uid in run['ingest'].read()['suggestion_uid'].values.tolist()]"
NUMBERS = "[run['suggest'].read(['seq_num'])['seq_num'].values.tolist() for run in agents.values()]"


@pytest.fixture
def process(tmp_path):
    one = Process(tmp_path)
    yield one
    one.kill()


def configured(process, catalog):
    process.configure(catalog)
    file = process.folder / "service.toml"
    file.write_text(file.read_text().replace("[service]", f"[service]\nkeep_facts = {KEEP}"))


def snapshot_of(state):
    with contextlib.closing(sqlite3.connect(f"file:{state.journal}?mode=ro", uri=True)) as file:
        rows = file.execute("SELECT (SELECT seq FROM snapshots), (SELECT min(seq) FROM facts)")
        return rows.fetchone()


def outcome(one):
    return {**one.point, "signal": 1.0, "_id": one.id}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_decisions_of_a_time_without_a_catalogue_are_archived_once_after_kills_and_snapshots(process):
    state = StateDir(process.state)
    configured(process, NOBODY)
    with process.start() as client:
        spec = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal", "executor": "thread"}
        client.create(name="walker", type="brainbox:Walker", **spec)
        client.start("walker", paused=True)
        wait_until(lambda: client.agent("walker").state == "paused")
        suggested = []
        for _ in range(SUGGESTED // 500):
            suggested += client.suggest("walker", n_points=500)
            client.ingest("walker", points=[outcome(one) for one in suggested[-100:]])
        process.end(signal.SIGKILL)
    # the limits are looked at when it starts: what is beyond them goes into a snapshot, and stays for the catalogue
    with process.start() as client:
        wait_until(lambda: snapshot_of(state)[0], within_s=120, what="a snapshot")
        assert snapshot_of(state)[1] == 1
        wait_until(lambda: client.agent("walker").state == "paused")
        assert client.agent("walker").counts.suggested == SUGGESTED
        client.ingest("walker", points=[outcome(one) for one in suggested[:300]])
        process.end(signal.SIGKILL)
    configured(process, "embedded")
    facts = reader(state.journal_url).read(kinds=[EventKind.SUGGESTION_STATE])
    with process.start() as client:
        wait_until(lambda: written_seq(state) >= facts[-1].seq, within_s=300, what="the decisions in the catalogue")
        uids, measured, numbers = ask(state.path, UIDS, MEASURED, NUMBERS)
        process.end(signal.SIGTERM)
    assert sorted(uids) == sorted(fact.data["id"] for fact in facts)
    assert sorted(measured) == sorted(one.id for one in [*suggested[:300], *(suggested[n] for n in LATER)])
    assert all(run == list(range(1, len(run) + 1)) for run in numbers)
    # the journal is as short as ever again
    with process.start() as client:
        wait_until(lambda: snapshot_of(state)[1] > SUGGESTED // 2, within_s=120, what="the end of what is archived")
        assert client.agent("walker").counts.ingested == 600
        process.end(signal.SIGKILL)
