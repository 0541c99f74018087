"""The service's side of the fork server: it launches it for the first agent, asks it for children, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from agent_service.errors import BackendUnavailable
from agent_service.executors.process._fork_server import RECORD, Says, kill_with_group

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDS_WITHIN_S: Final = 5.0

_ONE_THREAD: Final = {
    **dict.fromkeys(
        (
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "MKL_NUM_THREADS",
            "BLIS_NUM_THREADS",
            "VECLIB_MAXIMUM_THREADS",
            "NUMEXPR_NUM_THREADS",
        ),
        "1",
    ),
    # pyarrow, which pandas brings in, would start a thread in the process that forks
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_PROGRAM: Final = (
    "import json, sys; settings = json.loads(sys.argv.pop()); sys.path[:] = settings.pop('path'); "
    "from agent_service.executors.process._fork_server import main; main(**settings)"
)
_REMEMBERED: Final = 64
_TRIES: Final = 3


class ForkServerClient:
    """Where agents' processes come from; belongs to one event loop."""

    def __init__(self, *, base: Sequence[str], preload: Sequence[str]) -> None:
        self.has_threads = False  # what it imports runs some, so it cannot fork
        self._base = list(base)
        self._preload = list(preload)
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._received = b""
        self._launching = asyncio.Lock()
        self._to_send: deque[tuple[bytes, tuple[int, ...], asyncio.Future[bool]]] = deque()
        self._waiting: dict[int, asyncio.Future[int | None]] = {}
        self._early: OrderedDict[int, int] = OrderedDict()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """Process id of the fork server, None while there is none."""
        return self._server.pid if self._server is not None else None

    async def fork(self, connection: socket.socket, errors: int) -> None:
        """Ask for a child on these, which may be closed then; it says hello on ``connection``."""
        for _ in range(_TRIES):  # it may have just ended, unheard
            async with self._launching:
                if self._control is None:
                    await self._launch()
            sent = self._post(Says.FORK, descriptors=(connection.fileno(), errors))
            try:
                if await sent:
                    return
            finally:
                self._to_send = deque(entry for entry in self._to_send if entry[2] is not sent)
        raise BackendUnavailable("the process that starts agents' processes ends again and again; try again")

    def ended(self, pid: int) -> asyncio.Future[int | None]:
        """Return a future of how a child ends: exit code, minus the signal that killed it, None when nobody knows."""
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        if pid in self._early:
            future.set_result(self._early.pop(pid))
        elif self._control is None:
            future.set_result(None)
        else:
            self._waiting[pid] = future
        return future

    def kill(self, pid: int, *, alive: bool) -> None:
        """Kill a child and what it started.

        ``alive`` counts when the fork server, which keeps its id from being used again, has ended.
        """
        if pid in self._waiting or alive:
            kill_with_group(pid)

    async def close(self) -> None:
        """End the fork server and with it all children. Harmless the second time."""
        async with self._launching:
            for pid in self._waiting:
                kill_with_group(pid)
            if self._server is not None:
                self._server.kill()  # it may be importing something, and would hear us only after that
            self._lost()
            if self._ending:
                await asyncio.wait(self._ending)

    async def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        settings = {
            "path": import_path(),
            "control": theirs.fileno(),
            "base": self._base,
            "preload": self._preload,
        }
        try:
            with theirs:
                self._server = await asyncio.to_thread(_popen, json.dumps(settings), theirs.fileno())
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise BackendUnavailable(f"no process for agents could be started: {error.strerror}") from error
            raise
        ours.setblocking(False)
        self._received = b""
        self._control = ours
        asyncio.get_running_loop().add_reader(ours, self._hear)

    def _hear(self) -> None:
        assert self._control is not None  # noqa: S101 - the reader is removed with it
        try:
            piece = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._lost()
            return
        self._received += piece
        while len(self._received) >= RECORD.size:
            says, pid, status = RECORD.unpack_from(self._received)
            self._received = self._received[RECORD.size :]
            if says == Says.THREADS:
                self.has_threads = True
                self._lost()
                return
            self._reap(pid, status)

    def _reap(self, pid: int, status: int) -> None:
        future = self._waiting.pop(pid, None)
        if future is None:  # it ended before its hello was heard, or nobody cares
            self._early[pid] = status
            while len(self._early) > _REMEMBERED:
                self._early.popitem(last=False)
        elif not future.done():
            future.set_result(status)
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)  # what it started and left behind
        self._post(Says.RELEASE, pid)

    def _post(self, says: Says, pid: int = 0, *, descriptors: tuple[int, ...] = ()) -> asyncio.Future[bool]:
        """Queue a record; the future tells whether it was sent."""
        sent: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._to_send.append((RECORD.pack(says, pid, 0), descriptors, sent))
        self._flush()
        return sent

    def _flush(self) -> None:
        while self._to_send:
            record, descriptors, sent = self._to_send[0]
            try:
                if self._control is None:
                    raise ConnectionResetError
                socket.send_fds(self._control, [record], descriptors)
            except BlockingIOError:
                assert self._control is not None  # noqa: S101 - it is what blocked
                asyncio.get_running_loop().add_writer(self._control, self._flush)
                return
            except OSError:
                self._lost()
                return
            self._to_send.popleft()
            if not sent.done():
                sent.set_result(True)
        if self._control is not None:
            asyncio.get_running_loop().remove_writer(self._control)

    def _lost(self) -> None:
        """Let go of the fork server: it has ended, or ends by this."""
        control, self._control = self._control, None
        server, self._server = self._server, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control)
            asyncio.get_running_loop().remove_writer(control)
            control.close()
        while self._to_send:
            sent = self._to_send.popleft()[2]
            if not sent.done():
                sent.set_result(False)
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_result(None)
        if server is not None:
            task = asyncio.ensure_future(asyncio.to_thread(_wait_for_end, server))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


def import_path() -> list[str]:
    """Return this process's ``sys.path`` for another process, which may have another working directory."""
    return [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100 - the entry "" is the working directory


_KEYS: Final = frozenset({"AGENT_SERVICE_API_KEY", "AGENT_SERVICE_BLUEAPI_TOKEN", "QSERVER_HTTP_SERVER_API_KEY"})
"""Variables of the environment that an agent's code has no business to read: it may do everything with them."""


def _popen(settings: str, control: int) -> subprocess.Popen[bytes]:
    # -P: a file beside the user's notebook must not be taken for a library
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, settings],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[control],
        env={name: value for name, value in {**os.environ, **_ONE_THREAD}.items() if name not in _KEYS},
        start_new_session=True,
    )


def _wait_for_end(server: subprocess.Popen[bytes]) -> None:
    try:
        server.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
