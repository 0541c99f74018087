"""What the catalogue refuses is kept, told of and tried again; a catalogue that is away is waited for."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
from archive_rig import Reader, measure
from gate import Gate
from routed import RoutedSpool
from test_archive import HALF, WITHIN_S, rig, started, until
from test_archive_crash import OWNER

from agent_service.archive.catalog import CatalogAddress
from agent_service.archive.decisions import Fold
from agent_service.archive.refused import refused_in
from agent_service.documents.json_lines import encode
from agent_service.errors import BackendUnavailable
from agent_service.state_dir import StateDir

RUNS = "sorted(run.start['uid'] for run in runs.values()[1:])"
MOTORS = "{run.start['agent_name']: run['ingest'].read()['motor'].values.tolist() for run in agents.values()}"
LONG_S = 3 * WITHIN_S
"""For what is tried again and again, with pauses in between."""

NUMBERS = """{
    run.start['agent_name']: [
        run['suggest'].read(['seq_num'])['seq_num'].values.tolist(), (run.metadata.get('stop') or {}).get('num_events')
    ]
    for run in agents.values()
}"""


@pytest.fixture(scope="module")
def reader():
    one = Reader()
    yield one
    one.close()


def written(*uids):
    """A question: which of these runs are in the catalogue, the one that was written first first."""
    whole = "[run.start['uid'] for run in runs.values()[1:] if run.metadata.get('stop')]"
    return f"[uid for uid in {whole} if uid in {uids!r}]"


def whole(spool, uid):
    """A run without events of any uid, as somebody may post it."""
    spool.write("start", {"uid": uid, "time": 1.0})
    spool.write("stop", {"uid": f"stop of {uid}", "run_start": uid, "time": 2.0, "exit_status": "success"})


@pytest.mark.long
async def test_runs_whose_uids_no_catalogue_takes_hold_up_nobody(tmp_path, reader):
    bad = ["a/b", "agents", "..", "a?b", "a#b", "a b", "x" * 70_000, "ü"]
    async with rig(tmp_path / "state") as one:
        (first,) = measure(one.spool.write, 1)
        for uid in bad:
            whole(one.spool, uid)
        (last,) = measure(one.spool.write, 1)
        await one.decisions.session("s1")
        await one.decisions.create("walker")
        await one.decisions.step("walker", "g", first)
        async with started(one.archive()) as archive:
            for uid in ("a/b", "agents"):
                with pytest.raises(BackendUnavailable, match="cannot be the uid of a run"):
                    await archive.wait_for(uid, WITHIN_S)
            await archive.drained(one.journal.last_seq, LONG_S)
            assert await archive.documents("agents") == []
            await until(lambda: archive.status.runs_refused == len(bad))
            found = await reader.ask(one.state.path, RUNS, "[run.start['agent_name'] for run in agents.values()]")
            assert found == [sorted([first, last]), ["walker"]]  # the decisions are not taken for a run "agents"
            kept = {one.name: one.reason for one in refused_in(one.state)}
            assert set(kept) == set(bad)
            assert "cannot be the uid" in kept["a/b"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site's catalogue: another service's, in a process of its own. Tests tell their runs and agents apart."""
    state = StateDir(tmp_path_factory.mktemp("site"))
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(state.path), "ready"], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline()
    yield state
    owner.kill()
    owner.wait()
    owner.stdout.close()


@contextlib.asynccontextmanager
async def behind_a_gate(tmp_path, site):
    """The parts of a service that writes into the site's catalogue, and a gate before that."""
    address = CatalogAddress.load(site)
    async with rig(tmp_path / "state") as one:
        with Gate(address.uri) as gate:
            yield one, gate, address.api_key


def refuses(*uids, code=500):
    def answer(method, path, body):
        found = method != "GET" and any(uid in path or uid.encode() in body for uid in uids)
        return (code, "<html>no</html>") if found else None

    return answer


@pytest.mark.long
async def test_a_run_that_the_server_fails_on_is_refused_and_tried_again(tmp_path, site, reader):
    async with behind_a_gate(tmp_path, site) as (one, gate, key):
        one_bad, good = measure(one.spool.write, 2)
        gate.refuses = refuses(one_bad)  # deleting it fails, too
        async with started(one.archive(gate.uri, api_key=key)) as archive:
            await archive.wait_for(good, WITHIN_S)
            with pytest.raises(BackendUnavailable, match=f"refused the run {one_bad}"):
                await archive.wait_for(one_bad, WITHIN_S)
            tried = [path for method, path in gate.refused if method == "POST"]
            assert 2 <= len(tried) <= 5
            assert await reader.ask(site.path, written(one_bad, good)) == [[good]]
        (kept,) = refused_in(one.state)
        assert (kept.name, "500" in kept.reason) == (one_bad, True)
        gate.refuses = refuses()
        kept.retry()  # while no archive runs
        async with started(one.archive(gate.uri, api_key=key)) as archive:
            await archive.wait_for(one_bad, WITHIN_S)
            await until(lambda: archive.status.runs_refused == 0)
            assert await reader.ask(site.path, written(one_bad, good)) == [[good, one_bad]]
            assert list(refused_in(one.state)) == []


FACILITY = """
import json, sys
from pathlib import Path
from bluesky_tiled_plugins import TiledWriter
from agent_service.archive.catalog import CatalogAddress, connect
from agent_service.state_dir import StateDir
address = CatalogAddress.load(StateDir(Path(sys.argv[1])))
writer = TiledWriter(connect(address.uri, api_key=address.api_key))
*documents, stop = [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()]
for document in documents:
    writer(*document)
print("half", flush=True)
sys.stdin.readline()
writer(*stop)
"""


async def test_a_run_that_the_facility_writes_is_left_alone(tmp_path, site, reader):
    async with behind_a_gate(tmp_path, site) as (one, gate, key):
        theirs, ours = measure(one.spool.write, 2, points=3)
        [path, _] = one.spool.complete()
        facility = subprocess.Popen(  # noqa: ASYNC220 - nothing else happens meanwhile
            [sys.executable, "-c", FACILITY, str(site.path), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert facility.stdout.readline() == "half\n"
            deletions = []
            gate.refuses = lambda method, path, body: deletions.append(path) if method == "DELETE" else None
            async with started(one.archive(gate.uri, api_key=key)) as archive:
                await archive.wait_for(ours, WITHIN_S)
                await until(lambda: archive.status.runs_behind == 1)
                assert await reader.ask(site.path, written(theirs, ours)) == [[ours]]
                facility.stdin.write("\n")
                facility.stdin.flush()
                assert facility.wait(WITHIN_S) == 0
                await archive.wait_for(theirs, WITHIN_S)
                await until(lambda: archive.status.runs_behind == 0)
                assert await reader.ask(site.path, written(theirs)) == [[theirs]]
                assert [path for path in deletions if theirs in path] == []
                assert archive.status.runs_refused == 0
        finally:
            facility.kill()
            facility.communicate()


async def test_what_an_attempt_of_ours_left_elsewhere_is_replaced(tmp_path, site, reader):
    async with behind_a_gate(tmp_path, site) as (one, gate, key):
        (uid,) = measure(one.spool.write, 1, points=3)
        held = []

        def refuses_the_end(method, path, body):
            if method in ("PATCH", "PUT") and uid in path and not held:
                held.append(path)
                return 500, "<html>no</html>"
            return None

        gate.refuses = refuses_the_end
        async with started(one.archive(gate.uri, api_key=key)) as archive:
            await archive.wait_for(uid, WITHIN_S)
            assert held, "the first attempt left a part"
            assert await reader.ask(site.path, written(uid)) == [[uid]]
        assert not list((one.state.spool / "complete").iterdir())


async def test_when_the_catalogue_takes_nothing_nothing_is_refused(tmp_path, site, reader):
    async with (
        behind_a_gate(tmp_path, site) as (one, gate, key),
        started(one.archive(gate.uri, api_key=key)) as archive,
    ):
        await until(lambda: archive.status.state == "ready")
        await one.decisions.session("s1")
        await one.decisions.create("patient")
        uids = []
        for code in (200, 404, 500):  # a page of a proxy; a proxy without its server; a full disk
            gate.refused.clear()
            gate.refuses = lambda method, path, body, code=code: (code, "<html>") if method != "GET" else None
            uids += measure(one.spool.write, 2)
            await one.decisions.step("patient", f"g{code}", uids[-1])
            await until(lambda: archive.status.state == "unavailable" and len(gate.refused) > 2)
            assert (archive.status.runs_refused, archive.status.decisions_refused) == (0, 0)
            assert len(one.spool.complete()) == 2
            gate.refuses = refuses()
            await archive.drained(one.journal.last_seq, LONG_S)
        found, numbers = await reader.ask(site.path, written(*uids), NUMBERS)
        assert (found, numbers["patient"]) == (uids, [[1, 2, 3, 4, 5, 6], None])
        assert list(refused_in(one.state)) == []


def run_of(journal, agent):
    """The uid of an agent's run, which follows from the facts."""
    fold = Fold()
    for fact in journal.read():
        fold.apply_fact(fact)
    return fold.open_runs[agent].uid


@pytest.mark.long
async def test_decisions_of_one_agent_that_are_refused_hold_up_no_other(tmp_path, site, reader):
    async with behind_a_gate(tmp_path, site) as (one, gate, key):
        await one.decisions.session("s1")
        for name in ("bad", "good"):
            await one.decisions.create(name)
            for i in range(3):
                await one.decisions.step(name, f"{name}{i}", "", x=float(i))
        gate.refuses = refuses(run_of(one.journal, "bad"), code=422)
        async with started(one.archive(gate.uri, api_key=key)) as archive:
            await archive.drained(one.journal.last_seq, LONG_S)
            await until(lambda: archive.status.decisions_refused == 9)  # six states and three ingests
            assert archive.status.state == "ready"
            (numbers,) = await reader.ask(site.path, NUMBERS)
            assert (numbers["good"], "bad" in numbers) == ([[1, 2, 3, 4, 5, 6], None], False)
            assert {(kept.name, "422" in kept.reason) for kept in refused_in(one.state)} == {("bad", True)}
        gate.refuses = refuses()
        async with started(one.archive(gate.uri, api_key=key)) as archive:
            # after a restart its next decisions are written, with the numbers that they have
            await one.decisions.step("bad", "bad3", "", x=3.0)
            await archive.drained(one.journal.last_seq, LONG_S)
            assert (await reader.ask(site.path, NUMBERS))[0]["bad"] == [[7, 8], None]
            for kept in refused_in(one.state):
                kept.retry()  # while the archive runs
            await until(lambda: archive.status.decisions_refused == 0)
            await one.decisions.end("s1")
            await archive.drained(one.journal.last_seq, LONG_S)
            found, motors = await reader.ask(site.path, NUMBERS, MOTORS)
            counts = {"suggest": 8, "ingest": 4}
            assert found["bad"] == [list(range(1, 9)), counts]  # in the order that they were made, without a gap
            assert motors["bad"] == [0.0, 1.0, 2.0, 3.0]
            assert list(refused_in(one.state)) == []


@pytest.mark.long
async def test_one_decision_that_is_refused_is_refused_alone_and_kept(tmp_path, site, reader):
    async with behind_a_gate(tmp_path, site) as (one, gate, key):
        await one.decisions.session("s1")
        await one.decisions.create("single")
        for i in range(20):
            await one.decisions.step("single", "poison" if i == 7 else f"g{i}", "", x=float(i))
        gate.refuses = refuses("poison")
        async with started(one.archive(gate.uri, api_key=key)) as archive:
            await archive.drained(one.journal.last_seq, LONG_S)
            await until(lambda: archive.status.decisions_refused == 3)
            numbers = [n for n in range(1, 41) if n not in (15, 16)]
            assert (await reader.ask(site.path, NUMBERS))[0]["single"] == [numbers, None]
            os.kill(archive.pid, signal.SIGKILL)  # what is aside, is not lost with the child
            gate.refuses = refuses()
            for kept in refused_in(one.state):
                kept.retry()
            await until(lambda: archive.status.state == "ready" and archive.status.decisions_refused == 0)
            assert (await reader.ask(site.path, NUMBERS))[0]["single"] == [list(range(1, 41)), None]


@pytest.mark.long
async def test_a_run_that_ends_the_archive_again_and_again_is_refused(tmp_path):
    async with rig(tmp_path / "state") as one:
        deadly, good = measure(one.spool.write, 2)
        (path, _) = one.spool.complete()
        # what a child leaves that died five times of the same run
        (one.state.spool / "trying.json").write_text(json.dumps({"name": path.name, "times": 5}))
        async with started(one.archive()) as archive:
            await archive.wait_for(good, WITHIN_S)
            await until(lambda: archive.status.runs_refused == 1)
            (kept,) = refused_in(one.state)
            assert kept.name == deadly
            assert "ended 5 times" in kept.reason
            kept.retry()
            await archive.wait_for(deadly, WITHIN_S)


WARNED = """
import json, sys, warnings
from agent_service import open_catalog
said = []
warnings.showwarning = lambda message, category, *rest: said.append([category.__name__, str(message)])
warnings.simplefilter("always", UserWarning)
where, site, uid = sys.argv[1:]
open_catalog(where), said.append("runs")
open_catalog(where, path="agents"), said.append("decisions")
open_catalog(site)[uid]["primary"].read()
print(json.dumps(said))
"""


async def test_the_reader_is_told_how_many_are_missing(tmp_path, site):
    async with rig(tmp_path / "state") as one:
        CatalogAddress.load(site).save(one.state)  # its service wrote there, and ended early
        measure(one.spool.write, 2)
        made = RoutedSpool(tmp_path / "made")
        (half,) = measure(made.write, 1)
        subprocess.run(  # noqa: ASYNC221 - nothing else happens meanwhile
            [sys.executable, "-c", HALF, str(site.path), str(made.complete()[0]), "1000"],
            check=True,
            timeout=LONG_S,
        )
        await one.decisions.session("s1")
        await one.decisions.create("walker")
        (one.state.spool / "refused" / "000000000001-x.jsonl").write_text(encode("start", {"uid": "x"}) + "\n")
        done = subprocess.run(  # noqa: ASYNC221 - as above
            [sys.executable, "-c", WARNED, str(one.state.path), str(site.path), half],
            capture_output=True,
            text=True,
            timeout=LONG_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        refused = f"the catalogue refused 1 run, which is kept: `agent-service archive list {one.state.path}` says why"
        starts = [
            ["UserWarning", "not in the catalogue yet: 2 runs. They are kept in "],
            ["UserWarning", refused],
            "runs",
            ["UserWarning", "not in the catalogue yet: 2 decisions. They are kept in "],
            ["UserWarning", refused],
            "decisions",
            ["UserWarning", "the stream 'primary' has no data in the catalogue; if it was measured just now, open it"],
        ]
        for told, start in zip(said, starts, strict=True):
            assert told == start or (told[0] == start[0] and told[1].startswith(start[1]))
