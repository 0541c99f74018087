"""The command line in processes of its own: what it prints, how it ends, and what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from commands import COMMAND, Command
from routed import RoutedSpool
from services import wait_until

from agent_service.client import Client
from agent_service.errors import AgentFault

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("catalog", ["none", "embedded"])
def test_a_signal_ends_serving_cleanly(command, number, catalog):
    command.environment["AGENT_SERVICE_SERVICE__CATALOG"] = catalog
    process, url = command.start("serve", "--port", "0", "--state", "s")
    with Client.from_state(command.folder / "s") as client:
        assert client.url == url
        assert client.service().archive.catalog == catalog
        part = httpx.get(f"{url}/readyz").json()["parts"]["catalogue"]
        assert part in ({"ready": True, "reason": None}, {"ready": False, "reason": "it is starting"})
    code, out, err = command.stop(process, number)
    assert (code, out) == (0, "")
    key = (command.folder / "s" / "api_key").read_text().strip()
    assert "s/api_key" in err
    assert key not in err
    assert command.left() == []


def test_a_signal_ends_serving_when_nobody_reads_any_more(command):
    command.environment["AGENT_SERVICE_SERVICE__CATALOG"] = "none"
    process, url = command.start("serve", "--port", "0", "--state", "s")
    with Client.from_state(command.folder / "s") as client:
        spec = {"name": "a", "type": "sobol", "config": {"bounds": {"mirror_x": [-1, 1]}}}
        client.create(**spec, actuators=["mirror_x"], sensors=["flux"], outcome="flux")
        client.start("a")
        wait_until(lambda: client.agent("a").progress.done >= 1)
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5)


def test_an_open_event_stream_does_not_hold_the_end_up(command):
    process, _ = command.start("serve", "--port", "0", "--state", "s")
    with Client.from_state(command.folder / "s") as client:
        events = client.events(last_event_id=0)
        next(events)
        assert command.stop(process)[0] == 0
        events.close()


def test_what_was_said_survives_a_restart(command):
    process, _ = command.start("serve", "--port", "0", "--state", "s")
    with Client.from_state(command.folder / "s") as client:
        client.create(name="a", type="sobol", config={"bounds": {"motor": [0, 1]}}, actuators=["motor"], outcome="det")
    command.stop(process)
    command.start("serve", "--port", "0", "--state", "s")
    with Client.from_state(command.folder / "s") as client:
        assert [one.name for one in client.agents()] == ["a"]


def test_the_key_is_shown_on_a_terminal_only(command):
    main, side = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--state", "s"],
        cwd=command.folder,
        env=command.environment,
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    )
    os.close(side)
    shown = b""
    while b"Ctrl-C ends it" not in shown:
        shown += os.read(main, 4096)
    starting, serving = shown.splitlines()[:2]
    assert starting.startswith(b"starting a service on ")
    assert serving.startswith(b"Serving at http://127.0.0.1:")
    assert (command.folder / "s" / "api_key").read_bytes().strip() in shown
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=15) == 0
    os.close(main)


def test_a_key_of_the_environment_is_never_shown(command):
    command.environment["AGENT_SERVICE_API_KEY"] = "correct-horse-battery"
    process, url = command.start("serve", "--port", "0", "--state", "s")
    assert command.run("status", url).returncode == 0
    _, out, err = command.stop(process)
    assert "correct-horse-battery" not in out + err
    assert "AGENT_SERVICE_API_KEY" in err


def test_catalog_says_why_it_cannot_serve(command):
    missing = command.run("catalog", "nowhere")
    assert (missing.returncode, missing.stdout, missing.stderr.count("\n")) == (2, "", 1)
    assert "no embedded catalogue" in missing.stderr
    assert not (command.folder / "nowhere").exists()


def test_catalog_says_at_once_that_it_takes_a_while(command):
    command.environment["AGENT_SERVICE_SERVICE__CATALOG"] = "embedded"
    process, _ = command.start("serve", "--port", "0", "--state", "s")
    with Client.from_state(command.folder / "s") as client:
        wait_until(lambda: client.service().archive.state == "ready", within_s=60)
    command.stop(process)
    serving = command.popen("catalog", "s")
    assert serving.stderr.readline() == "starting the catalogue (about 5 s) ...\n"
    assert serving.stdout.readline().startswith("Serving the catalogue at http://127.0.0.1:")
    assert command.stop(serving)[0] == 0


def test_serve_says_what_befalls_agents_and_queue(command):
    (command.folder / "mine.py").write_text(MISBEHAVING)
    process, _ = command.start("serve", "--port", "0", "--state", "s")
    spec = {"actuators": ["motor"], "sensors": ["det"], "outcome": "det", "loop": {"max_runs": 5}}
    with Client.from_state(command.folder / "s") as client:
        points = {"points": [{"motor": 1}] * 5}
        client.create(name="slow", type="sequence", config=points, **{**spec, "loop": {"approval": "required"}})
        client.start("slow")
        client.create(name="still", type="sequence", config=points, **{**spec, "recover": "paused"})
        client.abort_queue("a person in the hutch")
        client.resume_queue()
        client.start("still")
        client.create(name="bad", type="mine:Bad", **spec)
        with pytest.raises(AgentFault):
            client.start("bad")
        wait_until(lambda: client.agent("still").state == "stopped")
    code, out, err = command.stop(process)
    assert (code, out) == (0, "")
    assert "the queue is held (a person in the hutch): nothing moves until somebody resumes it\n" in err
    assert "the queue goes on\n" in err
    assert re.search(r"^agent bad failed: .*no such lens", err, re.MULTILINE)
    assert re.search(r"^agent still has stopped: .*5 of 5", err, re.MULTILINE)
    assert "stopping ...\n" in err
    assert err.endswith("stopped\n")
    assert "Traceback" not in err


def test_serve_says_which_agents_come_back(command):
    process, _ = command.start("serve", "--port", "0", "--state", "s")
    with Client.from_state(command.folder / "s") as client:
        for name, recover in (("aligner", "resume"), ("careful", "paused")):
            spec = {"actuators": ["motor"], "outcome": "det", "recover": recover}
            spec |= {"config": {"points": [{"motor": 1}]}, "loop": {"approval": "required", "max_runs": 30}}
            client.create(name=name, type="sequence", **spec)
            client.start(name)
    command.stop(process)
    again, _ = command.start("serve", "--port", "0", "--state", "s")
    wanted = {"resuming aligner (0 of 30 runs)\n", "careful is back, paused (0 of 30 runs); resume it to go on\n"}
    while wanted:
        line = again.stderr.readline()
        assert line, f"not said: {wanted}"
        wanted.discard(line)
    command.stop(again)


def test_status_shows_service_and_agents(command):
    process, url = command.start("serve", "--port", "0", "--state", "s")
    empty = command.run("status", "--state", "s")
    assert (empty.returncode, "no agents yet" in empty.stdout) == (0, True)
    with Client.from_state(command.folder / "s") as client:
        client.create(name="a", type="sobol", config={"bounds": {"motor": [0, 1]}}, actuators=["motor"], outcome="det")
    shown = command.run("status", url, "--state", "s")
    assert shown.returncode == 0, shown.stderr
    for text in (url, "idle", "a", "created", "sobol"):
        assert text in shown.stdout
    refused = command.run("status", url)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
    assert "--state" in refused.stderr
    assert "AGENT_SERVICE_API_KEY" in refused.stderr
    command.stop(process)


def _taken_port(command: Command) -> list[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    command.listener = listener
    return ["--port", str(listener.getsockname()[1])]


def _toml(text: str | bytes):
    def write(command: Command) -> list[str]:
        path = command.folder / "service.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return ["service.toml", "--port", "0"]

    return write


def _state_in_use(command: Command) -> list[str]:
    command.start("serve", "--port", "0", "--state", "s")
    return ["--port", "0", "--state", "s"]


def _state_is_a_file(command: Command) -> list[str]:
    (command.folder / "file").touch()
    return ["--port", "0", "--state", "file"]


def _changed_state(change: str):
    """A state directory whose journal was changed by somebody else."""

    def arrange(command: Command) -> list[str]:
        command.stop(command.start("serve", "--port", "0", "--state", "s")[0])
        with contextlib.closing(sqlite3.connect(command.folder / "s" / "journal.db")) as file, file:
            file.execute(change)
        return ["--port", "0", "--state", "s"]

    return arrange


MISBEHAVING = """
class Bad:
    def __init__(self):
        raise RuntimeError("no such lens")

    def suggest(self, num_points=None): ...
    def ingest(self, points): ...
"""
AGENT = '[[agents]]\nname = "a"\nactuators = ["motor"]\noutcome = "det"\n'


@pytest.mark.parametrize(
    ("arrange", "says"),
    [
        (_taken_port, "--port 0"),
        (lambda _: ["missing.toml"], "does not exist"),
        (lambda _: ["."], "is a folder"),
        (lambda _: ["--port", "abc"], "--port must be a whole number; "),
        (lambda _: ["--port", "99999"], "--port must be 65535 or less; "),
        (lambda _: ["--prot", "1"], "No such option: --prot"),
        (_toml("[service\n"), "not valid TOML"),
        (_toml(b"\xff\xfe"), "UTF-8"),
        (_toml("[service]\nprot = 1\n"), "service.prot"),
        (_toml("[service]\ndurability = 'no'\n"), "service.durability"),
        (_toml('api_key = "k"\n'), "AGENT_SERVICE_API_KEY"),
        (_toml('[run_engine]\nstartup = "no_such_module"\n'), "no_such_module"),
        (_toml(AGENT), '[[agents]] "a": type: is missing'),
        (_toml(AGENT + 'type = "no_such_type"\n'), '[[agents]] "a": there is no agent type'),
        (_state_in_use, "in use by another service"),
        (_state_is_a_file, "cannot be used"),
        (_changed_state("UPDATE meta SET value = '99'"), "written by a newer agent-service"),
        (
            _changed_state("INSERT INTO snapshots VALUES (1, '', '{\"version\": 99}')"),
            "written by a newer agent-service",
        ),
    ],
)
def test_a_wrong_command_line_or_file_is_one_line_and_exit_2(command, arrange, says):
    done = command.run("serve", *arrange(command))
    if hasattr(command, "listener"):
        command.listener.close()
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_a_network_file_system_is_refused(command):
    patch = (
        "import agent_service.state_dir.lock as s; s.NETWORK_FILE_SYSTEMS = frozenset({s.file_system(s.Path('.'))});"
        "from agent_service.cli import main; main()"
    )
    done = command.run("serve", "--port", "0", "--state", "s", command=(sys.executable, "-c", patch))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "network file system" in done.stderr
    assert not (command.folder / "s").exists()


def test_debug_shows_the_traceback(command):
    done = command.run("serve", "missing.toml", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_status_names_the_state_directories_of_this_folder(command):
    (command.folder / "service.toml").write_text("[service]\nport = 0\n")
    process, url = command.start("serve", "service.toml")
    refused = command.run("status", url)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "--state service.state" in refused.stderr
    found = command.run("status", "--state", "service.state")
    assert found.returncode == 0, found.stderr
    command.stop(process)


def test_a_service_that_is_not_there_is_a_failure_with_a_hint(command):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = command.run("status", f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    assert "agent-service serve" in done.stderr
    assert command.run("status", "nonsense").returncode == 2
    assert command.run("status", "--state", "nowhere").returncode == 2


def test_the_samples_in_the_readme_run(command):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (curl,) = re.findall(r"^(curl .*)$", readme, re.MULTILINE)
    _, url = command.start("serve", "--port", "0")
    for _ in range(2):  # a person tries it more than once
        done = command.run(command=(sys.executable, "-c", sample))
        assert done.returncode == 0, done.stderr
        *told, last = done.stdout.splitlines()
        assert sum(line == "ingested " for line in told) >= 9  # the first may be done before the stream is open
        assert told[-1].startswith("stopped max_runs reached")
        assert last.startswith("[BestPoint(")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    asked = command.run(command=("bash", "-c", curl.replace("http://127.0.0.1:8000", url)))
    assert '"name":"aligner"' in asked.stdout, asked.stderr


@pytest.mark.long
def test_kill_minus_nine_leaves_no_child(command):
    command.environment["AGENT_SERVICE_SERVICE__CATALOG"] = "embedded"
    process, _ = command.start("serve", "--port", "0", "--state", "s")
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while command.left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert command.left() == []


def test_what_the_catalogue_refused_is_told_listed_and_tried_again(command):
    state = command.folder / "s"
    command.environment["AGENT_SERVICE_SERVICE__CATALOG"] = "embedded"
    spool = RoutedSpool(state / "spool")
    spool.write("start", {"uid": "a/b\x1b[31m", "time": 1.0})
    spool.write("stop", {"uid": "s", "run_start": "a/b\x1b[31m", "time": 2.0, "exit_status": "success"})
    process, _ = command.start("serve", "--port", "0", "--state", "s")
    with Client.from_state(state) as client:
        wait_until(lambda: client.service().faults, within_s=60)
        (fault,) = client.service().faults
        assert fault.startswith("the catalogue refused 1 run, which is kept: `agent-service archive list ")
        assert client.service().archive.runs_refused == 1
        shown = command.run("status", "--state", "s").stdout
        assert "1 runs refused" in shown
        assert "archive retry" in " ".join(shown.split())
        listed = command.run("archive", "list", "s")
        assert listed.stdout.startswith("run a/b?[31m: ValueError: 'a/b")
        assert "cannot be the uid of a run" in listed.stdout
        unknown = command.run("archive", "retry", "s", "nobody")
        assert (unknown.returncode, "refused nothing of nobody" in unknown.stderr) == (1, True)
        (kept,) = spool.refused()
        before = kept.with_suffix(".reason").stat().st_mtime_ns
        again = command.run("archive", "retry", "s")
        assert again.stdout.startswith("run a/b?[31m will be tried again\nThe service that runs on s does it")
        wait_until(lambda: [one.with_suffix(".reason").stat().st_mtime_ns for one in spool.refused()] > [before])
    command.stop(process)
    nothing = command.run("archive", "list", "nowhere")
    assert (nothing.returncode, "not the state directory of a service" in nothing.stderr) == (2, True)
    assert not (command.folder / "nowhere").exists()
