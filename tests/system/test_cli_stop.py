"""`agent-service stop`, for who cannot reach a panel: what it does to what moves, and what it says."""

import json
import os
import signal

import pytest
from service_process import SUPPORT
from services import wait_until

from agent_service.cli._address import process_of
from agent_service.client import Client

WALK = {"type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}


@pytest.fixture
def client(command):
    command.environment["AGENT_SERVICE_RUN_ENGINE__STARTUP"] = "rig"
    command.environment["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    command.start("serve", "--port", "0", "--state", "agent-service.state")
    with Client.from_state(command.folder / "agent-service.state") as one:
        for name in ("one", "two"):
            one.create(name=name, **WALK, plan="leisurely")
            one.start(name)
        wait_until(lambda: one.queue().current, what="a run under way")
        yield one


def test_everything_stops_what_moves_and_holds_it(command, client):
    done = command.run("stop", "--everything")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing moves until somebody resumes the queue" in done.stdout
    queue = client.queue()
    assert (queue.state, queue.current, queue.reason) == ("held", None, "Stop everything was said in a terminal")


@pytest.mark.long
def test_a_plan_that_goes_on_is_not_said_to_be_stopped_and_ends_when_it_is_asked_again(command, client):
    client.abort_queue()
    client.resume_queue()
    for name in ("one", "two"):
        client.stop(name)
    client.create(name="three", **WALK, plan="retrying")
    client.start("three")
    wait_until(lambda: client.queue().current, what="a run under way")
    done = command.run("stop", "--everything")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing new begins, but the plan under way goes on" in done.stderr
    assert "stop everything once more" in done.stderr
    done = command.run("stop", "--everything")
    assert (done.returncode, client.queue().current) == (0, None)


def test_agents_are_stopped_by_name_and_one_that_cannot_holds_up_no_other(command, client):
    done = command.run("stop", "nobody", "one", "--state", "agent-service.state")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr
    assert "one is stopped" in done.stdout
    assert client.agent("one").state == "stopped"
    assert client.agent("two").state == "running"


def test_it_says_stopping_only_of_what_it_stops(command, client):
    assert "stopping" not in command.run("stop", "nobody").stderr
    assert command.run("stop", "one").returncode == 0
    again = command.run("stop", "one")
    assert (again.returncode, again.stdout, again.stderr) == (0, "one is stopped already\n", "")
    assert command.run("stop", "--all").returncode == 0
    assert client.queue().state == "held"


def test_what_is_typed_steers_no_terminal(command, client):
    done = command.run("stop", "one\x1b]0;t\x07\r", "--state", "agent-service.state")
    assert done.returncode == 1
    assert not {"\x1b", "\x07", "\r"} & set(done.stdout + done.stderr)


def test_it_says_what_is_missing(command, client):
    for arguments in ((), ("one", "--everything")):
        done = command.run("stop", *arguments)
        assert done.returncode == 2
        assert "say what to stop" in done.stderr
    refused = command.run("stop", "--everything", "--url", client.url)
    assert refused.returncode == 1
    assert "give its key" in refused.stderr
    assert client.queue().state != "held"
    assert command.run("stop", "--everything", "--state", "nowhere").returncode == 2


@pytest.mark.long
def test_a_service_that_does_not_answer_holds_nobody_up(command, client):
    pid = json.loads((command.folder / "agent-service.state" / "service.json").read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        done = command.run("stop", "--everything")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert done.returncode == 1
    assert "does not answer yet; waiting, 15 s in all" in done.stderr
    assert f"`kill -9 {pid}` ends it" in done.stderr
    assert done.stdout == ""


def test_a_hold_that_is_not_written_is_said_to_be_so(command, client):
    state = command.folder / "agent-service.state"
    (state / "journal.db").rename(state / "elsewhere.db")
    done = command.run("stop", "--everything")
    assert "nothing moves until somebody resumes the queue" in done.stdout
    assert "it is not written yet" in done.stderr
    (state / "elsewhere.db").rename(state / "journal.db")


def test_no_process_is_named_that_may_be_another_service_s(tmp_path):
    (tmp_path / "service.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": 7}))
    assert process_of("http://127.0.0.1:1", tmp_path) == 7
    assert process_of("http://127.0.0.1:2", tmp_path) is None
    assert process_of("http://127.0.0.1:1", tmp_path / "nothing") is None
