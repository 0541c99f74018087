"""The service ends in the middle of things, by SIGTERM or by kill -9, and comes back."""

import contextlib
import json
import signal
import sqlite3

import pytest
from service_process import NOBODY
from services import wait_until

from agent_service.journal import reader


@pytest.fixture
def engine_dies_too(monkeypatch):
    """A RunEngine in a thread of the service: one in a process of its own ends its run, see test_engine_process.py."""
    monkeypatch.setenv("AGENT_SERVICE_RUN_ENGINE__PROCESS", "false")


def create(client, name, **spec):
    return client.create(
        **{"outcome": "signal", **spec}, name=name, type="brainbox:Walker", actuators=["x", "y"], sensors=["signal"]
    )


@pytest.mark.usefixtures("engine_dies_too")
def test_kill_9_in_the_middle_of_a_run(process):
    with process.start() as client:
        create(client, "walker", plan="leisurely", loop={"max_runs": 4})
        client.start("walker")
        wait_until(lambda: client.agent("walker").progress.done == 1)
        wait_until(lambda: client.suggestions("walker", state="running"))
        [interrupted] = client.suggestions("walker", state="running")
        process.end(signal.SIGKILL)
    with process.start() as client:
        wait_until(lambda: client.agent("walker").state == "stopped")
        status = client.agent("walker")
        suggestions = client.suggestions("walker")
        seen = client.variable("walker", "seen").value
    assert status.reason == "max_runs reached (4 of 4)"
    assert client is not None
    fates = {one.id: one.state for one in suggestions}
    assert fates[interrupted.id] == "abandoned"
    assert list(fates.values()).count("ingested") == 4
    uids = [one.run_uid for one in suggestions if one.run_uid]
    assert len(set(uids)) == len(uids) == 5  # the interrupted one is never run again, its point is
    assert seen == 4  # what was measured before the crash was replayed
    facts = reader(f"sqlite:///{process.state}/journal.db").read(limit=10_000)
    assert [one.seq for one in facts] == list(range(1, len(facts) + 1))


@pytest.mark.usefixtures("engine_dies_too")
def test_the_point_of_an_interrupted_suggestion_comes_back(process):
    with process.start() as client:
        create(client, "walker", plan="leisurely", loop={"max_runs": 3})
        client.start("walker")
        wait_until(lambda: client.agent("walker").progress.done == 1)
        [interrupted] = wait_until(lambda: client.suggestions("walker", state="running"))
        process.end(signal.SIGKILL)
    with process.start() as client:
        wait_until(lambda: client.agent("walker").state == "stopped")
        suggestions = client.suggestions("walker")
    assert [one.point["x"] for one in suggestions if one.state == "ingested"] == [0, 1, 2]  # none is left out
    [again] = [one for one in suggestions if one.retry_of]
    assert again.retry_of == interrupted.id
    assert again.point == interrupted.point
    assert again.state == "ingested"
    ids = {one.id: one.state for one in suggestions}
    assert ids[interrupted.id] == "abandoned"


@pytest.mark.parametrize("told", [True, False], ids=["running", "submitted"])
def test_a_run_that_was_complete_is_taken_in_and_not_measured_again(process, tmp_path, told):
    process.configure(NOBODY)
    (tmp_path / "hold").touch()
    with process.start() as client:
        create(client, "thinker", outcome=None, evaluate="brainbox:held", loop={"max_runs": 2})
        client.start("thinker")
        [measured] = wait_until(lambda: client.suggestions("thinker", state="running"))
        wait_until(lambda: list((process.state / "spool" / "complete").iterdir()))
        process.end(signal.SIGKILL)
    if not told:  # the fact that the run began did not reach the journal
        with contextlib.closing(sqlite3.connect(process.state / "journal.db")) as file, file:
            assert file.execute('delete from facts where data like \'%"state":"running"%run_uid%\'').rowcount == 1
            file.execute("update facts set seq = seq - 1 where seq > (select count(*) from facts)")
    (tmp_path / "hold").unlink()
    with process.start() as client:
        wait_until(lambda: client.agent("thinker").state == "stopped")
        suggestions = client.suggestions("thinker")
        assert client.variable("thinker", "seen").value == 2
        process.end(signal.SIGTERM)
    assert [one.state for one in suggestions] == ["ingested", "ingested"]
    assert (suggestions[0].id, suggestions[0].run_uid) == (measured.id, measured.run_uid)
    assert len(list((process.state / "spool" / "complete").iterdir())) == 2


def test_what_a_person_decided_survives_kill_9(process):
    with process.start() as client:
        create(client, "asking", loop={"approval": "required", "max_runs": 2})
        client.start("asking")
        [one] = wait_until(lambda: client.suggestions("asking", state="proposed"))
        client.reject(one.id, "no")
        client.set_variable("asking", "gain", 4.0)
        client.update("asking", config={"step": 0.5}, guardrails={"bounds": {"x": [-9, 9]}})
        [two] = wait_until(lambda: client.suggestions("asking", state="proposed"))
        client.pause("asking")
        client.approve(two.id, {"x": 1.0, "y": -0.5})
        client.ingest("asking", [{"x": 0.0, "y": 0.0, "signal": -7.0}])
        before = client.agent("asking")
        process.end(signal.SIGKILL)
    with process.start() as client:
        wait_until(lambda: client.agent("asking").state == "paused")
        after = client.agent("asking")
        assert after.spec == before.spec
        assert after.counts == before.counts
        assert after.best == before.best
        assert client.suggestion(one.id).state == "rejected"
        assert client.suggestion(two.id).point == {"x": 1.0, "y": -0.5}
        assert client.variable("asking", "gain").value == 4.0
        assert client.variable("asking", "seen").value == 1
        client.resume("asking")
        wait_until(lambda: client.suggestion(two.id).state == "ingested")
        assert client.suggestion(two.id).outcome["signal"] == pytest.approx(1.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_run_writes_the_stop_document(process, number):
    process.configure(NOBODY)
    with process.start() as client:
        create(client, "endless", plan="endless")
        client.start("endless")
        wait_until(lambda: client.suggestions("endless", state="running"))
        code, err = process.end(number)
    assert code == 0, err
    assert "Traceback" not in err
    [file] = (process.state / "spool" / "complete").iterdir()
    name, stop = json.loads(file.read_text().splitlines()[-1])
    assert name == "stop"
    assert stop["exit_status"] == "abort"
    assert list((process.state / "spool" / "open").iterdir()) == []
    with process.start() as client:
        wait_until(lambda: client.agent("endless").state == "running")
        assert client.suggestions("endless")[0].state == "abandoned"
        process.end(signal.SIGKILL)


@pytest.mark.usefixtures("engine_dies_too")
def test_kill_9_between_a_dark_run_and_a_light_one(process):
    """The dark run is complete and in the spool; it is not told as the last one."""
    process.configure(NOBODY)
    with process.start() as client:
        create(client, "walker", plan="pauses_between", run="last")
        client.start("walker")
        wait_until(lambda: list((process.state / "spool" / "complete").iterdir()))
        [cut] = client.suggestions("walker")
        process.end(signal.SIGKILL)
    with process.start() as client:
        [first, again, *_] = wait_until(lambda: len(found := client.suggestions("walker")) > 1 and found)
        wait_until(lambda: client.suggestion(cut.id).state == "abandoned")
        assert client.suggestion(cut.id).reason == "interrupted: its plan was not seen to its end"
        assert (first.id, again.retry_of, again.point) == (cut.id, cut.id, cut.point)
        assert client.variable("walker", "seen").value == 0
        process.end(signal.SIGKILL)
