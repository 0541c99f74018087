"""A process that is to be the RunEngine's: it imports what that takes, and then waits to be told what it is."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service.errors import UsageError
from agent_service.state_dir import engine_socket, private_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.plans.sinks.engine_process._messages import ChildSettings

_PROGRAM: Final = (
    "import json, sys; sys.path[:], listening, imports = json.loads(sys.argv.pop()); "
    "from agent_service.plans.sinks.engine_process._child import main; main(listening, imports)"
)
_OWNERS_KEY: Final = "AGENT_SERVICE_API_KEY"
_LOG_BYTES: Final = 1 << 20
_PID_FILE: Final = "engine.pid"
_IS_ONE: Final = b"engine_process"


class ChildProcess:
    """Starts at once, and imports modules until `begin`; raises `OSError` when it cannot be started."""

    def __init__(self, imports: Sequence[str] = ()) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._over = False  # whether it was told what it is, or ended
        started_with = json.dumps([module_path(), self._listening.fileno(), list(imports)])
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, started_with],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # until it has a log
                pass_fds=[self._listening.fileno()],
                env={name: value for name, value in os.environ.items() if name != _OWNERS_KEY},
                start_new_session=True,  # what ends the service by a signal to its group does not end this
            )
        except BaseException:
            self._listening.close()
            raise

    @staticmethod
    def why_not() -> str | None:
        """Return why a RunEngine cannot have a process of its own on this system, None where it can."""
        return None if sys.platform == "linux" else f"a RunEngine's own process needs Linux, and this is {sys.platform}"

    @staticmethod
    def lives_in(folder: Path) -> bool:
        """Return whether one that was begun in a folder lives; it does not notice."""
        return pid_in(folder) is not None

    def begin(self, settings: ChildSettings, folder: Path, log: Path) -> subprocess.Popen[bytes]:
        """Let it listen in a folder, and tell it what it is; raises `OSError` when it cannot listen."""
        with self._listening:
            engine_socket.bind(self._listening, folder)
        put_aside(log)
        private_files.write(folder / _PID_FILE, f"{self.process.pid} {_started_at(self.process.pid)}\n")
        stdin = self.process.stdin
        assert stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError), stdin:
            stdin.write(pickle.dumps(settings))
        self._over = True
        return self.process

    def discard(self) -> None:
        """End it, unless it was told what it is: nothing of it has moved. Harmless the second time."""
        if self._over:
            return
        self._over = True
        self._listening.close()
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()


def put_aside(log: Path) -> bool:
    """Rename a log that has become long, in the place of the one before; return whether it was."""
    if not log.exists() or log.stat().st_size <= _LOG_BYTES:
        return False
    log.replace(log.with_suffix(".log.1"))
    return True


def pid_in(folder: Path) -> int | None:
    """Return the number of the process that was begun in a folder, None when it lives no more; it is not asked."""
    try:
        pid, *started_at = private_files.read(folder / _PID_FILE).split()
        its_own = _IS_ONE in Path(f"/proc/{pid}/cmdline").read_bytes() and started_at == [_started_at(int(pid))]
        return int(pid) if its_own else None  # the number may be another's by now, of another service perhaps
    except (OSError, ValueError, UsageError):
        return None


def _started_at(pid: int) -> str:
    """Return when a process started, in ticks since the system did; no other of its number has the same."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def module_path() -> list[str]:
    """Return where modules are found here, for another process."""
    return [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100 - "" is the working directory
