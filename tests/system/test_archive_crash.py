"""The archive and kill -9, of the child and of its parent: nothing twice, nothing lost, nobody left."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from archive_rig import alive, ask, measure, run_engine
from bluesky.plans import count
from drawn import Device
from test_archive import WITHIN_S, rig, started, until

from agent_service.archive.messages import CATALOG

RUNS = 8
STEPS = 30

ONCE = "sorted(len(run['primary'].read()['det']) for run in runs.values()[1:])"
SEQS = "sorted(s for run in agents.values() for s in run['{}'].read()['journal_seq'].values.tolist())"
NUMBERS = "[run['suggest'].read(['seq_num'])['seq_num'].values.tolist() for run in agents.values()]"


@pytest.mark.long
async def test_a_killed_child_is_started_again_and_nothing_is_there_twice(tmp_path):
    async with rig(tmp_path / "state") as one:
        measure(one.spool.write, RUNS, points=2)
        await one.decisions.session("s1")
        await one.decisions.create("walker")
        archive = one.archive()
        async with started(archive):
            await until(lambda: 0 < archive.status.runs_behind < RUNS - 1)
            for i in range(STEPS):
                await one.decisions.step("walker", f"g{i}", "")
            os.kill(archive.pid, signal.SIGKILL)
            await until(lambda: archive.status.state == "unavailable")
            assert "signal 9" in archive.status.reason
            for i in range(STEPS):
                await one.decisions.step("walker", f"h{i}", "")
            await archive.drained(one.journal.last_seq, WITHIN_S)
            found = ask(one.state.path, ONCE, SEQS.format("suggest"), SEQS.format("ingest"))
            assert found == [[2] * RUNS, *_expected(one.journal)]
        # the cursor is lost, or older than the catalogue: the rows know their facts
        one.state.catalog_cursor.unlink()
        await one.decisions.session("s2")
        await one.decisions.step("walker", "later", "")
        async with started(one.archive()) as archive:
            await until(lambda: archive.status.facts_behind == one.journal.last_seq)  # told while it starts already
            assert archive.status.state == "starting"
            await archive.drained(one.journal.last_seq, WITHIN_S)
            ends = "[(run.metadata.get('stop') or {}).get('reason') for run in agents.values()]"
            numbers = [list(range(1, 4 * STEPS + 1)), [1, 2]]
            counts = {"suggest": 4 * STEPS, "ingest": 2 * STEPS}
            count = "agents.values()[0].stop['num_events']"
            found = ask(one.state.path, SEQS.format("suggest"), SEQS.format("ingest"), NUMBERS, ends, count)
            assert found == [*_expected(one.journal), numbers, ["the service was interrupted", None], counts]


DIES = """
import os, signal, sys
from agent_service.archive import agent_streams
from agent_service.archive.__main__ import main

owner, name, when = sys.argv[1:4]
del sys.argv[1:4]
owner = {"module": agent_streams, "streams": agent_streams.AgentStreams, "files": agent_streams.private_files}[owner]
done = getattr(owner, name)
left = int(when.strip("<>"))

def dying(*args, **options):
    global left
    if name == "write" and args[0].name != "outbox.json":
        return done(*args, **options)
    left -= 1
    if left == 0 and when[0] == "<":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = done(*args, **options)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

setattr(owner, name, dying)
os.nice = lambda _: 0  # nothing else is done meanwhile
main()
"""
STEPS_OF_A_BATCH = [
    ("module", "child_or_new", "3>"),  # in the catalogue is the agent's run with a stream, without a table
    ("module", "_append", "<1"),  # the table, without rows
    ("module", "_append", "1>"),  # the rows of one stream
    ("streams", "_end", "1>"),  # those of all streams, and the end of the run
    ("files", "write", "<1"),  # the next run, too; only the position is not noted
]


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_child_that_dies_at_each_step_of_a_batch_loses_nothing_and_repeats_nothing(tmp_path):
    async with rig(tmp_path / "state") as one:
        await one.decisions.session("s1")
        await one.decisions.create("walker")
        for i in range(3):
            await one.decisions.step("walker", f"g{i}", "")
        await one.decisions.session("s2")
        await one.decisions.step("walker", "later", "")
        environment = {**os.environ, CATALOG: "embedded"}
        for step in STEPS_OF_A_BATCH:
            child = subprocess.Popen(  # noqa: ASYNC220 - waited for below, in a thread
                [sys.executable, "-c", DIES, *step, str(one.state.path)],
                env=environment,
                stdin=subprocess.PIPE,  # it would end with the pipe
                stdout=subprocess.DEVNULL,
            )
            try:
                assert await asyncio.to_thread(child.wait, 2 * WITHIN_S) == -signal.SIGKILL, step
            finally:
                child.kill()
                child.wait()
                child.stdin.close()
        async with started(one.archive()) as archive:
            await archive.drained(one.journal.last_seq, WITHIN_S)
            ends = "[(run.metadata.get('stop') or {}).get('num_events') for run in agents.values()]"
            found = ask(one.state.path, SEQS.format("suggest"), SEQS.format("ingest"), NUMBERS, ends)
            assert found == [*_expected(one.journal), [list(range(1, 7)), [1, 2]], [{"suggest": 6, "ingest": 3}, None]]


async def test_no_acknowledged_fact_is_missing_in_what_is_behind(tmp_path):
    async with rig(tmp_path / "state") as one:
        await one.decisions.session("s1")
        await one.decisions.create("walker")
        archive = one.archive()
        assert archive.status.facts_behind == 2
        async with started(archive):
            await archive.drained(one.journal.last_seq, WITHIN_S)
            await until(lambda: archive.status.facts_behind == 0)
            os.kill(archive.pid, signal.SIGSTOP)  # it cannot look now, and says nothing
            await one.decisions.step("walker", "g", "")
            assert (archive.status.state, archive.status.facts_behind) == ("ready", 3)
            told = one.told
            os.kill(archive.pid, signal.SIGKILL)
            await until(lambda: archive.status.state == "unavailable")
            assert archive.status.facts_behind == 3
            assert one.told > told
            await until(lambda: (archive.status.state, archive.status.facts_behind) == ("ready", 0))
            found = ask(one.state.path, SEQS.format("suggest"), SEQS.format("ingest"))
            assert found == _expected(one.journal)
        assert archive.status.facts_behind == 0
        await one.decisions.end("s1")
        assert archive.status.facts_behind == 1  # nobody writes any more


def _expected(journal):
    """The numbers of the facts that have rows in suggest, and in ingest."""
    facts = journal.read()
    return [[fact.seq for fact in facts if fact.kind == kind] for kind in ("suggestion.state", "ingest")]


OWNER = """
import asyncio, pathlib, sys
from agent_service.archive import Archive
from agent_service.state_dir import StateDir

async def main():
    state = StateDir(pathlib.Path(sys.argv[1]))
    state.lock()
    archive = Archive(state, catalog="embedded")
    await archive.start()
    while archive.pid is None or (sys.argv[2] == "ready" and archive.status.state != "ready"):
        await asyncio.sleep(0.01)
    print(archive.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["early", "ready"])
async def test_the_child_ends_with_its_parent_however_that_ends(tmp_path, when):
    owner = subprocess.Popen(  # noqa: ASYNC220 - read below, in a thread
        [sys.executable, "-c", OWNER, str(tmp_path), when], stdout=subprocess.PIPE, text=True
    )
    try:
        pid = int(await asyncio.to_thread(owner.stdout.readline))
        assert alive(pid)
        assert os.getsid(pid) != os.getsid(owner.pid)  # Ctrl-C on the terminal does not reach it
        owner.kill()
        owner.wait()
        await until(lambda: not alive(pid), within_s=10)
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()


@pytest.mark.parametrize("after", ["at once", "while importing"])
async def test_a_stop_while_the_child_is_starting_is_quick(tmp_path, after):
    async with rig(tmp_path) as one:
        measure(one.spool.write, 1)
        archive = one.archive()
        await archive.start()
        if after != "at once":
            await until(lambda: archive.status.runs_behind == 1)
        pid = archive.pid
        async with asyncio.timeout(4):
            await archive.stop(3)
        assert archive.pid is None
        assert pid is None or not alive(pid)


@pytest.mark.long
async def test_files_that_a_kill_left_without_a_node_hold_up_no_run(tmp_path):
    """A catalogue that is killed between the file of an array and its node has the file in its way the next time."""
    images = [[[1, 2], [3, 4]]] * 2
    key = {"dtype": "array", "shape": [2, 2], "source": "s"}
    async with rig(tmp_path / "state") as one:
        with run_engine() as engine:
            engine.subscribe(one.spool.write)
            (uid,) = engine(count([Device("camera", {"image": (key, images)}, {}, 2)], num=2))
        for left in (f"{uid}/primary/image", "agents/probe/00000000-0000-4000-8000-000000000000/primary/array"):
            make = "import sys, zarr; zarr.create_array(sys.argv[1], shape=(7,), dtype='int64')"
            subprocess.run([sys.executable, "-c", make, one.state.catalog_files / left], check=True, timeout=60)  # noqa: ASYNC221
        async with started(one.archive()) as archive:
            await archive.drained(0, WITHIN_S)
            assert one.spool.refused() == []
            assert archive.status.state == "ready"
            assert ask(one.state.path, "runs[-1]['primary']['image'].read().tolist()") == [images]
        assert not (one.state.catalog_files / "agents" / "probe").exists()
