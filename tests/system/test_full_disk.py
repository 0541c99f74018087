"""The disk is full: nothing is acknowledged that could be lost, nothing that moves is torn, and it goes on by itself.

No file of the service may grow beyond a limit (RLIMIT_FSIZE): to whoever writes that is a full disk, and it works
without privileges and for root.
"""

import contextlib
import json
import resource
import signal

import pytest
from service_process import NOBODY
from services import wait_until

from agent_service.errors import BackendUnavailable
from agent_service.journal import reader
from notebook_widgets import AgentPanel

RUNS = 30


def limit(process, size):
    soft = resource.RLIM_INFINITY if size is None else size
    resource.prlimit(process.child.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))


def complete_runs(process):
    files = (process.state / "spool" / "complete").iterdir()
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in files]


@contextlib.contextmanager
def working(process):
    process.configure(NOBODY)
    with process.start() as client:
        client.create(
            name="walker",
            type="brainbox:Walker",
            actuators=["x", "y"],
            sensors=["signal"],
            outcome="signal",
            plan="brisk",
            loop={"max_runs": RUNS},
        )
        client.start("walker")
        wait_until(lambda: client.agent("walker").progress.done >= 2)
        yield client


@pytest.mark.parametrize("what", ["journal", "everything"])
def test_it_waits_and_goes_on(process, what):
    with working(process) as client, contextlib.closing(AgentPanel(client, "walker")) as panel:
        wait_until(lambda: panel.answers.get("service", {}).get("faults") == [])
        wal = process.state / "journal.db-wal"
        limit(process, wal.stat().st_size if what == "journal" else 100)
        wait_until(lambda: not client.ready().ready)
        said = {name: part.reason for name, part in client.ready().parts.items() if not part.ready}
        assert said.keys() & {"journal", "spool"}
        assert all("cannot be written" in said[name] for name in ("journal", "spool") if name in said)
        assert any("cannot be written" in one for one in client.service().faults)
        if what == "journal":
            wait_until(lambda: panel.answers["service"]["faults"], what="the panel to show it")
            assert panel.answers["service"]["faults"][0].startswith("the journal cannot be written")
        wait_until(lambda: client.queue().state == "idle")  # the run that was under way came to its end
        before = client.agent("walker")
        assert 2 <= before.progress.done < RUNS
        with pytest.raises(BackendUnavailable, match="the journal cannot be written"):
            client.create(name="other", type="brainbox:Walker", actuators=["x", "y"], outcome="signal")
        with pytest.raises(BackendUnavailable):
            client.pause("walker")
        with pytest.raises(BackendUnavailable):
            client.ingest("walker", [{"x": 0.0, "y": 0.0, "signal": 0.0}])
        told = reader(f"sqlite:///{process.state}/journal.db").read(limit=10_000)
        after = client.agent("walker")
        assert (after.state, after.progress) == (before.state, before.progress)
        assert after.progress.done == sum(one.kind == "ingest" for one in told)  # it shows what is written
        limit(process, None)
        wait_until(lambda: client.ready().ready)
        wait_until(lambda: panel.answers["service"]["faults"] == [])
        wait_until(lambda: client.agent("walker").state == "stopped")
        assert client.service().faults == []
        status, suggestions = client.agent("walker"), client.suggestions("walker")
        assert client.variable("walker", "seen").value == RUNS
        assert [one.name for one in client.agents()] == ["walker"]
    assert status.reason == f"max_runs reached ({RUNS} of {RUNS})"
    assert [one.state for one in suggestions] == ["ingested"] * RUNS
    assert [one.point["x"] for one in suggestions] == list(range(RUNS))
    facts = reader(f"sqlite:///{process.state}/journal.db").read(limit=10_000)
    assert [one.seq for one in facts] == list(range(1, len(facts) + 1))
    runs = complete_runs(process)
    assert [run[-1][1]["exit_status"] for run in runs] == ["success"] * RUNS
    assert [[name for name, _ in run] for run in runs] == [["start", "descriptor", "event", "event", "stop"]] * RUNS


@pytest.mark.parametrize("stop", ["abort_queue", "pause_queue"])
def test_a_stop_on_a_full_disk_says_that_it_stopped(process, stop):
    with working(process) as client:
        limit(process, 100)
        wait_until(lambda: not client.ready().ready)
        state = {"abort_queue": "held", "pause_queue": "paused"}[stop]
        answer = getattr(client, stop)()
        assert answer.state == state
        assert f"the queue is {state}, and nothing begins; it is not written yet" in answer.reason
        assert client.queue().state == state
        with pytest.raises(BackendUnavailable):  # what goes on is written first
            client.resume_queue()
        assert client.queue().state == state
        limit(process, None)
        wait_until(lambda: client.ready().parts["journal"].ready)
        journal = reader(f"sqlite:///{process.state}/journal.db")
        wait_until(lambda: journal.read(kinds=["queue.state"]))
        process.end(signal.SIGKILL)
    with process.start() as client:
        assert client.queue().state == state
        client.resume_queue()
        assert client.queue().state != state


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_can_end_while_the_disk_is_full(process, number):
    with working(process) as client:
        limit(process, 100)
        wait_until(lambda: not client.ready().ready)
        code, err = process.end(number)
    if number == signal.SIGTERM:
        assert code == 0, err
        assert "Traceback" not in err
    with process.start() as client:
        wait_until(lambda: client.agent("walker").state == "stopped")
        assert client.agent("walker").progress.done == RUNS
        suggestions = client.suggestions("walker")
    points = [one.point["x"] for one in suggestions if one.state == "ingested"]
    assert points == list(range(RUNS))
    complete = [run for run in complete_runs(process) if run[-1][1]["exit_status"] == "success"]
    assert {run[0][1]["uid"] for run in complete} == {one.run_uid for one in suggestions if one.state == "ingested"}
