"""The RunEngine's process as the service comes by it: the one that is there, or a new one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable, UsageError
from agent_service.plans.sinks.engine_process._child_process import ChildProcess, module_path, pid_in
from agent_service.plans.sinks.engine_process._messages import ChildSettings
from agent_service.state_dir import engine_socket

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from agent_service.plans.sinks.engine_settings import EngineSettings

_LAST_LINES: Final = 3
_KILLED_WITHIN_S: Final = 10.0


class EngineLauncher:
    """Finds and starts processes in a state directory, which is locked; belongs to the event loop.

    ``early`` is a process that was started before it was known whether there is one.
    """

    def __init__(
        self,
        folder: Path,
        settings: EngineSettings,
        *,
        waits_s: float,
        keeps_documents: bool,
        early: ChildProcess | None = None,
    ) -> None:
        self._early = early
        self._folder = folder
        self.digest = settings.digest
        self.turns = folder / "engine.turns"
        self.log = folder / "engine.log"
        self._waits_s = waits_s
        self._keeps_documents = keeps_documents
        self._process: subprocess.Popen[bytes] | None = None

    async def connect(self) -> socket.socket | None:
        """Return a connection to the process that is there; None when there is none."""
        if (connection := await asyncio.to_thread(engine_socket.connected, self._folder)) is None:
            return None
        if engine_socket.owner_of(connection) != os.geteuid():
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
            why = error.strerror or str(error)
            raise BackendUnavailable(f"no process for the RunEngine could be started: {why}") from error
        connection = await self.connect()
        if connection is None:
            raise BackendUnavailable(f"the RunEngine's process {await self.how_it_ended()}")
        return connection

    def _launch(self, settings: EngineSettings) -> subprocess.Popen[bytes]:
        child, self._early = self._early or ChildProcess(), None
        made = ChildSettings(
            engine=settings,
            digest=self.digest,
            path=module_path(),
            log=str(self.log),
            turns=str(self.turns),
            waits_s=self._waits_s,
            keeps_documents=self._keeps_documents,
        )
        try:
            return child.begin(made, self._folder, self.log)
        except BaseException:
            child.discard()
            raise

    def kill_other(self) -> bool:
        """Kill the process that somebody else started here, and wait until it has ended; blocks.

        Returns whether there was one.
        """
        if (pid := pid_in(self._folder)) is None:
            return False
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            try:
                if pid_in(self._folder) == pid:  # the number may be another's by now
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    select.select([handle], [], [], _KILLED_WITHIN_S)
            finally:
                os.close(handle)
        return True

    async def how_it_ended(self, within_s: float = 5.0) -> str:
        """Say how the process ended that was started here; it has hung up."""
        process, self._process = self._process, None
        if process is None:
            return "ended"
        status = await asyncio.to_thread(_exit_status, process, within_s)
        if status >= 0:
            return f"ended with exit code {status}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"

    def discard(self) -> None:
        """End a process that was started here and is of no use: nothing of it has moved."""
        self.discard_early()
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def discard_early(self) -> None:
        """End the process that was started before it was known that there is one."""
        early, self._early = self._early, None
        if early is not None:
            early.discard()

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


def _exit_status(process: subprocess.Popen[bytes], within_s: float) -> int:
    """Return the exit status of a process, which is killed when it does not end in time."""
    try:
        return process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
