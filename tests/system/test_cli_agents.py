"""Agents and suggestions from a terminal: `agents`, `start`, `inbox`, `approve`, `watch` and their like."""

import contextlib
import os
import pty
import re
import shlex
import signal
import subprocess

import httpx
import pytest
import typer.main
from services import wait_until

from agent_service import __version__
from agent_service.cli import app
from agent_service.client import Client

STATE = "agent-service.state"
SPEC = {
    "type": "bayes",
    "config": {"bounds": {"mirror_x": [-5, 5], "mirror_y": [-5, 5]}, "objective": "flux"},
    "actuators": ["mirror_x", "mirror_y"],
    "sensors": ["flux"],
    "outcome": "flux",
    "loop": {"approval": "required", "n_points": 3},
}


@pytest.fixture
def client(command):
    command.start("serve", "--port", "0", "--state", STATE)
    with Client.from_state(command.folder / STATE) as one:
        one.create(name="aligner", **SPEC)
        yield one


def proposed(client, most=1):
    if client.agent("aligner").state in ("created", "stopped"):
        client.start("aligner")
    return wait_until(lambda: (found := client.suggestions(state="proposed"))[most - 1 :] and found, within_s=60)


def examples():
    commands = typer.main.get_command(app).commands
    return {
        name: [line for line in (one.epilog or "").split("\n\n") if line.startswith("agent-service ")]
        for name, one in commands.items()
    }


def prepare(client, name, line):
    """Bring the service to where a person would type this line; the beamline of the examples is the one here."""
    line = line.replace("http://beamline.example.org:8000", client.url)
    state = client.agent("aligner").state
    if name == "start" and state not in ("created", "stopped"):
        client.stop("aligner")
    elif name in ("pause", "stop") and state != "running":
        client.resume("aligner") if state == "paused" else client.start("aligner")
    elif name == "resume" and "everything" in line:
        client.abort_queue()
    elif name == "resume":
        client.pause("aligner") if state == "running" else None
    elif name in ("best", "approve", "reject") and client.queue().state == "held":
        client.resume_queue()
    if name == "best" and client.agent("aligner").best is None:
        client.approve(proposed(client)[0].id)
        wait_until(lambda: client.agent("aligner").best, within_s=60)
    if name in ("approve", "reject"):
        return line.replace("3f2a9c1e", proposed(client)[0].id[:8])
    return line


def test_the_examples_in_the_help_run(command, client):
    shown = {name: lines for name, lines in examples().items() if lines}
    # who opens the page of a service elsewhere has its key; no browser comes up beside the tests
    key = (command.folder / STATE / "api_key").read_text().strip()
    command.environment.update(BROWSER="true %s", AGENT_SERVICE_API_KEY=key)
    read_key = command.run("keys", "create", "screens", "--scopes", "read", "--state", STATE).stdout.strip()
    assert {"agents", "start", "pause", "resume", "stop", "best", "inbox", "approve", "reject", "watch"} <= set(shown)
    for name, lines in shown.items():
        for line in lines:
            words = shlex.split(prepare(client, name, line))[1:]
            if name == "relay":  # each service is the one here
                words = [*(re.sub(r"http://.*", client.url, word) for word in words), "--port", "0"]
                command.environment["AGENT_SERVICE_API_KEY"] = ",".join([read_key] * (len(words) - 3))
            if name in ("watch", "relay"):
                process = command.popen(*words)
                assert process.stdout.readline()
                assert command.stop(process, signal.SIGINT)[0] == 130
                command.environment["AGENT_SERVICE_API_KEY"] = key
                continue
            done = command.run(*words)
            assert done.returncode == 0, (line, done.stderr)


def test_the_devices_are_listed_by_a_part_of_their_names(command, client):
    shown = command.run("devices", "MIRROR").stdout
    assert "mirror_x" in shown
    assert "mirror_y" in shown
    assert "flux" not in shown
    assert "nothing" in command.run("devices", "nothing").stdout


def test_suggestions_are_looked_at_approved_changed_and_rejected(command, client):
    first, second, third = proposed(client, most=3)
    shown = command.run("inbox").stdout
    assert all(one.id[:8] in shown for one in (first, second, third))
    done = command.run("approve", first.id[:8], "nothing", "--state", STATE)
    assert done.returncode == 1
    assert f"approved {first.id[:8]} of aligner: mirror_x" in done.stdout
    assert (
        "no suggestion that waits has an id that begins with 'nothing'; agent-service inbox shows them" in done.stderr
    )
    edited = command.run("approve", second.id, "--set", "mirror_x=1.25")
    assert (edited.returncode, "mirror_x 1.25, mirror_y" in edited.stdout) == (0, True)
    assert client.suggestion(second.id).point["mirror_x"] == 1.25
    assert command.run("approve", third.id, first.id, "--set", "mirror_x=1").returncode == 2
    assert command.run("reject", third.id[:6], "--reason", "too far").returncode == 0
    assert client.suggestion(third.id).reason == "rejected by a person: too far"
    best = wait_until(lambda: client.agent("aligner").best, within_s=60)
    assert f"aligner: flux {best.outcome['flux']:.6g} at mirror_x" in command.run("best", "aligner").stdout


def test_an_id_that_is_two_suggestions_decides_neither(command, client):
    waiting = proposed(client, most=3)
    both = command.run("approve", "")
    assert both.returncode == 1
    assert "give more of it" in both.stderr
    assert {client.suggestion(one.id).state for one in waiting} == {"proposed"}


def test_the_service_of_a_notebook_in_this_folder_is_found(command):
    command.start("serve", "--port", "0", "--state", ".agent-service/first")
    assert command.run("agents").stdout == "no agents yet\n"
    command.start("serve", "--port", "0", "--state", ".agent-service/second")
    unclear = command.run("agents")
    assert unclear.returncode == 2
    assert "say which: --state .agent-service/first or --state .agent-service/second" in unclear.stderr
    assert command.run("agents", "--state", ".agent-service/second").returncode == 0
    command.start("serve", "--port", "0", "--state", STATE)
    assert command.run("agents").returncode == 0


def test_without_a_service_each_command_says_what_to_do(command):
    for words in (["agents"], ["start", "a"], ["best", "a"], ["inbox"], ["approve", "a"], ["reject", "a"], ["watch"]):
        done = command.run(*words)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert "start one with `agent-service serve`" in done.stderr
        assert len(done.stderr.splitlines()) <= 2
    for words in (["pause"], ["resume", "a", "--everything"], ["approve", "a", "--set", "x"]):
        assert command.run(*words).returncode == 2, words
    for words in (["agents", "--state", "nowhere"], ["watch", "--url", "nonsense"]):
        assert command.run(*words).returncode == 2, words


def test_the_version(command):
    done = command.run("--version")
    assert (done.returncode, done.stdout) == (0, f"agent-service {__version__}\n")


def test_what_cannot_be_done_holds_up_no_other(command, client):
    done = command.run("start", "nobody", "aligner")
    assert done.returncode == 1
    assert "there is no agent 'nobody'" in done.stderr
    assert done.stdout == "aligner is running\n"
    assert command.run("pause", "aligner").stdout == "aligner is paused\n"
    assert "it can" in command.run("pause", "aligner").stderr
    assert command.run("resume", "aligner").stdout == "aligner is running\n"


def test_watch_shows_what_happens_and_outlives_a_restart_of_the_service(command):
    process, url = command.start("serve", "--port", "0", "--state", STATE)
    port = url.rpartition(":")[2]
    with Client.from_state(command.folder / STATE) as one:
        one.create(name="aligner", **SPEC)
    screen, terminal = pty.openpty()
    os.set_blocking(screen, False)
    watching = subprocess.Popen(
        [*command.command, "watch"],
        cwd=command.folder,
        env={**command.environment, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(terminal)
    seen = [""]

    def shows(text):
        with contextlib.suppress(BlockingIOError):
            while part := os.read(screen, 65536):
                seen[0] += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", part.decode("utf-8", "replace"))
        found = text in seen[0]
        if found:
            seen[0] = ""
        return found

    try:
        wait_until(lambda: shows("created"), within_s=60, what="the agent on the screen")
        with Client.from_state(command.folder / STATE) as one:
            waiting = proposed(one)
        wait_until(lambda: shows(waiting[0].id[:8]), within_s=60, what="the suggestion on the screen")
        command.stop(process)
        wait_until(lambda: shows("as it was last"), within_s=60, what="that it does not answer")
        command.start("serve", "--port", port, "--state", STATE)
        wait_until(lambda: shows("resuming aligner") or shows("3/") or shows("running"), within_s=60, what="it is back")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
        assert watching.stderr.read() == ""
    finally:
        watching.kill()
        watching.communicate()
        os.close(screen)


def test_open_gives_the_browser_an_address_that_logs_in_once(command, client):
    opened = command.folder / "opened"
    browser = command.folder / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {shlex.quote(str(opened))}\n')
    browser.chmod(0o700)
    command.environment["BROWSER"] = f"{browser} %s"
    done = command.run("open")
    assert (done.returncode, done.stdout) == (0, "the page is open in the browser\n"), done.stderr
    address, _, code = opened.read_text().strip().partition("/#code=")
    assert address == client.url
    headers = {"Origin": address}
    session = httpx.post(f"{address}/api/v1/sessions", json={"code": code}, headers=headers)
    assert session.status_code < 300, session.text
    again = httpx.post(f"{address}/api/v1/sessions", json={"code": code}, headers=headers)
    assert again.status_code == 401
    assert code not in done.stdout + done.stderr
