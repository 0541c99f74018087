"""The demo from start to end, in a process of its own: in a pipe, on a terminal, interrupted, and failing."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import uuid
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-c", "from agent_service.cli import main; main()")
WITHIN_S = 150

# plans that cannot be measured: the detector raises in every run
BROKEN_STARTUP = """
from agent_service.plans.beamline import simulated
globals().update(simulated(seed=0))

def acquire(suggestions, actuators, sensors, md):
    raise RuntimeError("the shutter is closed")
    yield
"""


@pytest.fixture
def environment():
    """Return an environment whose processes can be found again, and check at the end that none is left."""
    mark = str(uuid.uuid4())
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AGENT_SERVICE_", "TILED_"))}
    yield {**clean, "AGENT_SERVICE_TEST_MARK": mark, "COLUMNS": "100"}
    assert _left(mark) == []


def _left(mark: str) -> list[str]:
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"AGENT_SERVICE_TEST_MARK={mark}".encode() in environ.read_bytes().split(b"\0"):
                found.append((environ.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def demo(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "demo", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_in_a_pipe_it_says_all_in_plain_lines_and_what_it_says_is_true(tmp_path, environment):
    done = demo(tmp_path, environment, "--runs", "6", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    out = done.stdout
    assert "\x1b" not in out
    for text in ("/docs", "run 6 of 6", "archiving 6 of 6", "% of the true optimum", "runs:       6", "beam idle:"):
        assert text in out
    assert len(re.findall(r"^run \d+ of 6: .*; best measured: flux .*; best by model: flux", out, re.MULTILINE)) == 6
    said = re.search(r"([\d.]+) without noise, ([\d.]+) % of the true optimum, ([\d.]+)$", out, re.MULTILINE)
    true, percent, highest = map(float, said.groups())
    assert abs(100 * true / highest - percent) < 0.1
    [picture] = re.findall(r"^a picture of what the agent believes now is in (\S+)$", out, re.MULTILINE)
    assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    _read_as_told(out, tmp_path, environment)


def _read_as_told(out: str, folder: Path, environment: dict[str, str]) -> None:
    """Do what the demo's last lines say, to the letter, and find the best value that it named."""
    command = shlex.split(re.search(r"in another terminal, .*\n    (.* catalog \S+)$", out, re.MULTILINE)[1])
    assert command[:3] == [sys.executable, "-m", "agent_service"]
    assert command[-1].startswith("agent-service-demo/")
    assert f"and in Python ({sys.executable}):" in out
    told = out.partition("and in Python")[2].splitlines()
    lines = [line.removeprefix("    ") for line in told if line.startswith("    ")]
    assert len(lines) == 6
    served = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    try:
        assert served.stdout.readline().startswith("Serving the catalogue at http://127.0.0.1:")
        shown = [f"print(({line.partition('  #')[0]}).sizes['time'])" if ".read()" in line else line for line in lines]
        code = "\n".join([*shown, "print(len(runs))"])
        read = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        one, decisions, runs = map(int, read.stdout.split())
        assert (one, runs) == (1, 7), read.stderr  # six runs and the agents' container
        assert decisions >= 6
    finally:
        served.send_signal(signal.SIGINT)
        code = served.wait(timeout=30)
        served.stdout.close()
    assert code == 0


class Terminal:
    """The demo on a pseudo-terminal."""

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: str) -> None:
        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, "demo", *arguments],
            cwd=folder,
            env={**environment, "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONUTF8": "1"},
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)
        self.shown = ""

    def read_until(self, text: str | None) -> None:
        """Read until ``text`` was shown, or until the end for None."""
        while text is None or text not in self.shown:
            try:
                read = os.read(self._main, 65536)
            except OSError:  # the other side was closed
                read = b""
            if not read:
                assert text is None, self.shown
                return
            self.shown += read.decode(errors="replace")

    def close(self) -> int:
        self.read_until(None)
        code = self.process.wait(timeout=WITHIN_S)
        os.close(self._main)
        return code


def test_on_a_terminal_it_is_live_and_gives_the_terminal_back(tmp_path, environment):
    terminal = Terminal(tmp_path, environment, "--runs", "6", "--state", "here")
    assert terminal.close() == 0, terminal.shown
    for text in ("measuring", "6/6", "best by model", "last point", "archiving", "█", "% of the true optimum"):
        assert text in terminal.shown
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")
    assert (tmp_path / "here" / "journal.db").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once_in_one_line(tmp_path, environment, number, code):
    terminal = Terminal(tmp_path, environment, "--runs", "500")
    terminal.read_until("last point")
    terminal.process.send_signal(number)
    assert terminal.close() == code
    assert "Traceback" not in terminal.shown
    if number is signal.SIGINT:
        assert "state directory agent-service-demo/" in terminal.shown
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")


def test_keep_goes_on_serving_until_ctrl_c(tmp_path, environment):
    terminal = Terminal(tmp_path, environment, "--runs", "2", "--keep")
    terminal.read_until("still serving at")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.close() == 0, terminal.shown
    assert " catalog " not in terminal.shown  # it is served already
    assert "from_profile" in terminal.shown


def test_a_loop_that_fails_says_why_in_one_line(tmp_path, environment):
    (tmp_path / "broken.py").write_text(BROKEN_STARTUP)
    broken = {**environment, "AGENT_SERVICE_RUN_ENGINE__STARTUP": str(tmp_path / "broken.py")}
    done = demo(tmp_path, broken, "--runs", "6")
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: the loop ended after 0 of 6 runs: ")
    assert done.stderr.count("\n") == 1
    assert "the shutter is closed" in done.stderr


def test_a_used_state_directory_is_refused(tmp_path, environment):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "journal.db").touch()
    done = demo(tmp_path, environment, "--state", "used")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "give an empty folder with --state" in done.stderr
