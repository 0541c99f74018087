"""Commands of ours in processes of their own: what they print, how they end, and what they leave behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

STOPS_WITHIN_S = 15
COMMAND = (sys.executable, "-c", "from agent_service.cli import main; main()")


class Command:
    """Starts commands in a folder of their own, and finds every process that descends from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command = COMMAND
        self._mark = f"AGENT_SERVICE_TEST_MARK={uuid.uuid4()}"
        name, value = self._mark.split("=")
        # the archive takes seconds to start; what is tested here does not need it
        self.environment = {**os.environ, name: value, "AGENT_SERVICE_SERVICE__CATALOG": "none"}
        self.environment["PYTHONFAULTHANDLER"] = "1"  # see `stop`
        for inherited in ("AGENT_SERVICE_API_KEY", "AGENT_SERVICE_URL"):
            self.environment.pop(inherited, None)
        self._started: list[subprocess.Popen[str]] = []

    def run(self, *arguments: str, command: tuple[str, ...] = COMMAND) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command, ended with the test."""
        process = subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        self._started.append(process)
        return process

    def start(self, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        """Start a server and return it with its URL, from its ready line."""
        process = self.popen(*arguments)
        line = process.stdout.readline()
        found = re.fullmatch(r"Serving at (http://127\.0\.0\.1:\d+)\n", line)
        assert found, (line, process.stderr.read())
        return process, found[1]

    def serve(self, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        """Start serving on a free port and return the process when it says so, with what was printed before."""
        process = self.popen("serve", "--port", "0", *arguments)
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Serving at "):
                return process, "".join(said)
        raise AssertionError("".join(said) + process.stderr.read())

    def stop(self, process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal and wait for the end; a process that stays is made to say what each thread is doing."""
        process.send_signal(number)
        try:
            out, err = process.communicate(timeout=STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            ended = process.poll()
            process.send_signal(signal.SIGABRT)
            out, err = process.communicate()
            raise AssertionError(f"not ended {STOPS_WITHIN_S} s after signal {number} ({ended=})\n{out}{err}") from None
        return process.returncode, out, err

    def left(self) -> list[int]:
        """Ids of the processes that are still there."""
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self._mark.encode() in environ.read_bytes().split(b"\0"):
                    found.append(int(environ.parent.name))
            except OSError:
                continue
        return found

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
