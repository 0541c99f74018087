"""The RunEngine's process as the service comes by it: the one that is there, or a new one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable, UsageError
from agent_service.plans.sinks.engine_process._child import owner_of
from agent_service.plans.sinks.engine_process._messages import ChildSettings
from agent_service.state_dir import engine_socket

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.plans.sinks.engine_settings import EngineSettings

_PROGRAM: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from agent_service.plans.sinks.engine_process._child import main; main()"
)
_OWNERS_KEY: Final = "AGENT_SERVICE_API_KEY"
_LOG_BYTES: Final = 1 << 20
_LAST_LINES: Final = 3


class EngineLauncher:
    """Finds and starts processes in a state directory, which is locked; belongs to the event loop."""

    def __init__(self, folder: Path, settings: EngineSettings, *, waits_s: float, keeps_documents: bool) -> None:
        self._folder = folder
        self.digest = settings.digest
        self.turns = folder / "engine.turns"
        self.log = folder / "engine.log"
        self._waits_s = waits_s
        self._keeps_documents = keeps_documents
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def why_not() -> str | None:
        """Return why a RunEngine cannot have a process of its own on this system, None where it can."""
        return None if sys.platform == "linux" else f"a RunEngine's own process needs Linux, and this is {sys.platform}"

    async def connect(self) -> socket.socket | None:
        """Return a connection to the process that is there; None when there is none."""
        if (connection := await asyncio.to_thread(engine_socket.connected, self._folder)) is None:
            return None
        if owner_of(connection) != os.geteuid():
            connection.close()
            raise UsageError(f"engine.sock in {self._folder} is another user's; remove it")
        connection.setblocking(False)
        return connection

    async def launch(self, settings: EngineSettings) -> socket.socket:
        """Start a process, and return a connection to it; it answers when its startup is loaded.

        Raises `BackendUnavailable` when none can be started.
        """
        try:
            self._process = await asyncio.to_thread(self._launch, settings)
        except OSError as error:
            raise BackendUnavailable(f"no process for the RunEngine could be started: {error.strerror}") from error
        connection = await self.connect()
        if connection is None:
            raise BackendUnavailable(f"the RunEngine's process {await self.how_it_ended()}")
        return connection

    def _launch(self, settings: EngineSettings) -> subprocess.Popen[bytes]:
        (self._folder / engine_socket.NAME).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening, engine_socket.short(self._folder) as path:
            listening.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101 - a path of this process's own
            listening.listen(4)
            child = ChildSettings(
                engine=settings,
                digest=self.digest,
                listening=listening.fileno(),
                turns=str(self.turns),
                waits_s=self._waits_s,
                keeps_documents=self._keeps_documents,
            )
            return self._popen(pickle.dumps(child), listening.fileno())

    def _popen(self, settings: bytes, listening: int) -> subprocess.Popen[bytes]:
        import json  # noqa: PLC0415 - only here

        path = json.dumps([os.path.abspath(entry) for entry in sys.path])  # noqa: PTH100 - "" is the working directory
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        output = os.open(self.log, flags, 0o600)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, path],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[listening],
                env={name: value for name, value in os.environ.items() if name != _OWNERS_KEY},
                start_new_session=True,  # what ends the service by a signal to its group does not end this
            )
        finally:
            os.close(output)
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(settings)
        return process

    async def how_it_ended(self, within_s: float = 5.0) -> str:
        """Say how the process ended that was started here; it has hung up."""
        process, self._process = self._process, None
        if process is None:
            return "ended"
        try:
            status = await asyncio.to_thread(process.wait, within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            status = await asyncio.to_thread(process.wait)
        if status >= 0:
            return f"ended with exit code {status}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"

    def discard(self) -> None:
        """End a process that was started here and is of no use: nothing of it has moved."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def let_go(self) -> None:
        """Leave a process to itself that is to outlive this one."""
        process: Any = self._process
        self._process = None
        if process is not None and process.poll() is None:
            process.returncode = 0  # nobody waits for it here

    def output(self) -> str:
        """Return the last lines that a process printed."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return " | ".join(line.strip() for line in lines[-_LAST_LINES:])
