"""The process executor: each brain in a process of its own, which can be killed, limited, and die alone.

A fork server of the service forks the processes (see `_launcher`). A function, pickled by cloudpickle, makes the object
to host in the child, so that it may come from a notebook.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import shutil
import socket
import sys
import tempfile
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from agent_service.errors import AgentFault, BackendUnavailable, DeadlineExceeded, ServiceError, texts
from agent_service.executors.notices import Delivery
from agent_service.executors.pickling import pickled
from agent_service.executors.pipe_end import PipeEnd
from agent_service.executors.process._child import Settings
from agent_service.executors.process._frames import FrameReader, Kind, frame, unpacked_error
from agent_service.executors.process._launcher import ForkServerClient, import_path
from agent_service.executors.process._output import ChildOutput, how_it_ended
from agent_service.executors.remote_handle import RemoteHandle
from agent_service.protocols import LogNotice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.protocols import Notice

PRELOAD: Final = (
    "numpy",
    "numpy.random",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.gaussian_process",
    "bayes_opt.acquisition",
    "bayes_opt.target_space",
)
"""What most agents import, the quick ones first."""

_OUTPUT_WITHIN_S: Final = 0.8
_TRIES: Final = 3
"""How often a process is asked for that does not even begin."""

_log = logging.getLogger(__name__)


class ProcessExecutor:
    """Hosts brains in processes; belongs to one event loop.

    Every child needs the modules ``base``; the fork server imports those of ``preload`` while there is nothing else to
    do. Brains that need the same libraries have a fork server of their own, which has imported these. ``on_call`` is
    called with the name of each call that ended, and how long it took, in seconds.
    """

    isolated = True
    needs_pickle = True

    def __init__(
        self,
        *,
        base: Sequence[str] = (),
        preload: Sequence[str] = PRELOAD,
        on_call: Callable[[str, float], None] | None = None,
        handle_type: type[ProcessHandle] | None = None,
    ) -> None:
        self._on_call = on_call
        self._handle_type = handle_type or ProcessHandle
        self._fork_servers: dict[tuple[str, ...], ForkServerClient] = {}
        self._unfit: set[tuple[str, ...]] = set()  # sets of libraries of which no fork server can be made
        self._base = ("cloudpickle", *base)
        self._preload = preload
        self._handles: set[ProcessHandle] = set()

    def why_not(self) -> str | None:
        """Return why there can be no processes on this system, None where there can."""
        return None if sys.platform == "linux" else f"processes need Linux, and this is {sys.platform}"

    async def start(  # noqa: PLR0913 - see `protocols.Executor`
        self,
        build: Callable[[], object] | bytes,
        *,
        name: str,
        timeout_s: float,
        memory_limit_mb: int | None = None,
        libraries: Sequence[str] = (),
        resources: Mapping[str, float] | None = None,
        on_notice: Callable[[Notice], None] | None = None,
        on_wait: Callable[[str | None], None] | None = None,
    ) -> ProcessHandle:
        """Build the object in a new process and return a handle on it. See `protocols.Executor`.

        ``build`` may be pickled already.
        """
        if (why := self.why_not()) is not None:
            raise BackendUnavailable(f'{why}; set executor = "thread"')
        key, tries_left = tuple(sorted(libraries)), _TRIES
        while True:
            tries_left -= 1
            if key in self._unfit or not tries_left:  # each imports them for itself
                key = ()
            fork_server = self._server_of(key)
            handle = self._new_handle(name, fork_server, on_notice)
            try:
                await handle.build(build, memory_limit_mb=memory_limit_mb, timeout_s=timeout_s)
            except AgentFault as error:
                if handle.pid is None and error.died and tries_left:  # nothing began: the fork server has just ended
                    if fork_server.has_threads:
                        await self._give_up(key, "what they import runs threads")
                    continue
                raise
            except DeadlineExceeded:
                if handle.pid is None and key:
                    await self._give_up(key, f"that took more than {timeout_s:g} s")
                raise
            return handle

    def _server_of(self, key: tuple[str, ...]) -> ForkServerClient:
        """Return the fork server that has imported a set of libraries, made on first use; () is the one for others."""
        if key not in self._fork_servers:
            preload = () if key else self._preload
            self._fork_servers[key] = ForkServerClient(base=(*self._base, *key), preload=preload)
        return self._fork_servers[key]

    async def _give_up(self, key: tuple[str, ...], why: str) -> None:
        _log.warning("%s cannot be imported once for all agents: %s", ", ".join(key), why)
        self._unfit.add(key)
        if (fork_server := self._fork_servers.pop(key, None)) is not None:
            await fork_server.close()

    def _new_handle(
        self, name: str, fork_server: ForkServerClient, on_notice: Callable[[Notice], None] | None
    ) -> ProcessHandle:
        handle = self._handle_type(name, fork_server, on_notice=on_notice, on_call=self._on_call)
        self._handles.add(handle)
        handle.on_end = lambda: self._handles.discard(handle)
        return handle

    async def close(self) -> None:
        """End all processes, the fork server's too. Harmless the second time."""
        for handle in list(self._handles):
            await handle.close()
        fork_servers, self._fork_servers = self._fork_servers, {}
        await asyncio.gather(*(fork_server.close() for fork_server in fork_servers.values()))


class ProcessHandle(RemoteHandle):
    """A handle on an object in a process of its own; belongs to one event loop."""

    def __init__(
        self,
        name: str,
        fork_server: ForkServerClient,
        *,
        on_notice: Callable[[Notice], None] | None = None,
        on_call: Callable[[str, float], None] | None = None,
    ) -> None:
        super().__init__(name, on_call=on_call)
        self._on_notice = on_notice
        self._printed = None if on_notice is None else Delivery(on_notice, loop=self._loop)
        self._caches = os.path.join(tempfile.gettempdir(), f"agent-service-{os.getpid()}-{uuid.uuid4().hex}")  # noqa: PTH118
        self.on_end: Callable[[], object] = lambda: None
        self.pid: int | None = None
        self._fork_server = fork_server
        self._exit: asyncio.Future[int | None] | None = None
        self._hello: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._hung_up = False
        self._output = ChildOutput(self._hear_line)
        self._inquest: asyncio.Task[None] | None = None

    def memory_bytes(self) -> int | None:
        """Return the proportional set size of the process. See `protocols.BrainHandle`."""
        if self.pid is None or self._dead is not None:
            return None
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii")
            return int(text.partition("\nPss:")[2].split()[0]) * 1024
        return None

    async def build(
        self, build: Callable[[], object] | bytes, *, memory_limit_mb: int | None = None, timeout_s: float
    ) -> None:
        """Fork the process and make the object in it; a failure or a passed deadline ends the process."""
        settings = Settings(
            name=self._name,
            import_path=tuple(import_path()),
            folder=os.getcwd(),  # noqa: PTH109 - as text
            caches=self._caches,
            memory_limit_mb=memory_limit_mb,
        )

        async def begin(_: object) -> None:
            made = build if isinstance(build, bytes) else await asyncio.to_thread(pickled, build)
            await self._fork()
            self._send(Kind.SETTINGS, pickle.dumps(settings))
            self._send(Kind.BUILD, made)

        try:
            await self._do("start", begin, timeout_s)
        except ServiceError:
            await self.close()
            raise

    def _send_call(self, payload: bytes) -> None:
        self._send(Kind.CALL, payload)

    def _send(self, kind: Kind, payload: bytes) -> None:
        """Send a frame; what stands in the way of that is told by `hung_up`, with how the child ended."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._transport.write(frame(kind, payload))
        except (OSError, RuntimeError):  # uvloop's raises when the child has just ended, asyncio's does not
            self._transport.abort()

    async def _fork(self) -> None:
        with contextlib.ExitStack() as until_it_speaks:
            ours, theirs = socket.socketpair()
            until_it_speaks.callback(ours.close)
            with theirs, contextlib.ExitStack() as until_taken_over:
                listening, speaking = os.pipe()
                pipe = PipeEnd(listening)
                until_taken_over.callback(pipe.abandon)
                try:
                    await self._fork_server.fork(theirs, speaking)
                finally:
                    os.close(speaking)
                output, _ = await self._loop.connect_read_pipe(lambda: self._output, pipe)
                until_taken_over.pop_all()
            until_it_speaks.callback(output.close)
            self._transport, _ = await self._loop.connect_accepted_socket(lambda: _Connection(self), ours)
            until_it_speaks.pop_all()
        await self._hello

    # what the child says ------------------------------------------------------------------------------------------

    def heard(self, kind: Kind, payload: bytes) -> None:
        """Take a frame of the child; may raise anything where it is nonsense."""
        if kind is Kind.HELLO:
            self.pid = int(payload)
            self._exit = self._fork_server.ended(self.pid)
            if not self._hello.done():
                self._hello.set_result(None)
        elif kind is Kind.NOTICES:
            if self._on_notice is not None and self._dead is None:
                for notice in pickle.loads(payload):  # noqa: S301 - of a child of ours
                    self._on_notice(notice)
        elif self._present is None or self._present.done():
            return
        elif kind is Kind.ERROR:
            self._present.set_exception(unpacked_error(payload))
        else:
            self._take_result(self._present, payload)

    def _hear_line(self, line: str) -> None:
        if self._printed is not None:
            self._printed.put(LogNotice("info", line, "output"))

    def hung_up(self) -> None:
        """Notice that the connection is gone: the child has ended, or was told to."""
        self._hung_up = True
        if self._dead is None:
            self._inquest = self._loop.create_task(self._find_why())

    async def _find_why(self) -> None:
        """Find out how the child ended, and say so to who waits."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OUTPUT_WITHIN_S):
                status = None if self._exit is None else await asyncio.shield(self._exit)
                await asyncio.shield(self._output.over)
        status = self._exit.result() if self._exit is not None and self._exit.done() else None
        output = self._output.text()
        how = how_it_ended(status) if self.pid is not None else "ended before it began"
        if self._dead is None:
            self._lose(AgentFault(f"the process of agent {self._name!r} {how}", traceback=output or None, died=True))

    def _discard(self) -> None:
        if self.pid is not None:
            self._fork_server.kill(self.pid, alive=not self._hung_up)
        if self._transport is not None:
            self._transport.abort()
        self._output.close()
        if self._printed is not None:
            self._printed.close()
        if not self._hello.done() and self._dead is not None:
            self._hello.set_exception(self._dead)
            self._hello.exception()  # nobody may be waiting any more
        if self._inquest is not None and self._inquest is not asyncio.current_task():
            self._inquest.cancel()
        if os.path.isdir(self._caches):  # noqa: PTH112 - as text
            threading.Thread(target=shutil.rmtree, args=(self._caches, True), daemon=True).start()
        self.on_end()


class _Connection(asyncio.Protocol):
    """Puts the child's frames together."""

    def __init__(self, handle: ProcessHandle) -> None:
        self._handle = handle
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's only looks like one

    def data_received(self, data: bytes) -> None:
        try:
            for kind, payload in self._frames.feed(data):
                self._handle.heard(kind, payload)
        except Exception as error:  # noqa: BLE001 - somebody wrote nonsense to a descriptor that is not theirs
            _log.warning("what the process of an agent says makes no sense (%s); it is ended", texts.describe(error))
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._handle.hung_up()
