"""The archive and kill -9, of the child and of its parent: nothing twice, nothing lost, nobody left."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from archive_rig import alive, ask, measure
from test_archive import WITHIN_S, rig, started, until

RUNS = 8
STEPS = 30

ONCE = "sorted(len(run['primary'].read()['det']) for run in runs.values()[1:])"
SEQS = "sorted(s for run in agents.values() for s in run['{}'].read()['journal_seq'].values.tolist())"
NUMBERS = "[run['suggest'].read(['seq_num'])['seq_num'].values.tolist() for run in agents.values()]"


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
        one.state.outbox.unlink()
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
