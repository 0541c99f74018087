"""The RunEngine's process: it loads the startup, listens, serves one service at a time, and ends without any."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import importlib
import logging
import os
import pickle
import select
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from agent_service.executors.event_loops import new_event_loop
from agent_service.plans.sinks.engine_process._child_process import put_aside
from agent_service.plans.sinks.engine_process._frames import FrameProtocol
from agent_service.plans.sinks.engine_process._host import EngineHost, say_why
from agent_service.plans.sinks.engine_process._turns import TurnFile
from agent_service.state_dir import engine_socket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.plans.sinks.engine_process._frames import Message
    from agent_service.plans.sinks.engine_process._messages import ChildSettings
    from agent_service.plans.sinks.engine_settings import LoadedStartup

_EMPTY_WAITS_S: Final = 30.0
"""How long it waits for a service, at most, with nothing to hand over."""

_ENDS_WITHIN_S: Final = 10.0
"""How long a plan that stands still may take to end when no service has come."""

_LOOKS_AT_LOG_S: Final = 5.0

_BROKEN: Final = 70
"""Exit code when the process itself is at fault (EX_SOFTWARE)."""

_SWITCH_S: Final = 0.001
"""How long a thread may keep the interpreter from one that has something to send."""

_log = logging.getLogger(__name__)


class EngineChild:
    """Serves one service at a time: a new one takes over from the one before with the first that it says.

    Who says nothing, such as one that looks whether there is a process, changes nothing.
    """

    def __init__(self, settings: ChildSettings, listening: socket.socket) -> None:
        self._settings = settings
        self._listening = listening
        self._connection: FrameProtocol | None = None
        self._silent: list[FrameProtocol] = []  # others, that said nothing yet
        self._host: EngineHost | None = None
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None  # uvloop's ends when nobody holds it any more

    async def live(self, loaded: LoadedStartup) -> None:
        """Serve until a service lets it go, or none has come for long."""
        self._host = EngineHost(self._settings, loaded, TurnFile(Path(self._settings.turns)))
        self._host.on_quit = self._news.set
        logging.getLogger().addHandler(_Relay(self._host))
        os.register_at_fork(after_in_child=self._let_go)
        self._look_at_log()
        # it is not closed at the end: the process ends, and a server may wait for those who are connected
        self._server = await asyncio.get_running_loop().create_unix_server(self._accepted, sock=self._listening)
        while not (self._host.quitting and self._host.has_nothing):
            self._news.clear()
            if self._connection is not None:
                await self._news.wait()
            elif await self._given_up(self._host):
                break

    def _look_at_log(self) -> None:
        """Begin a new log when this one is long, whatever plans print, and look again later."""
        with contextlib.suppress(OSError):
            if put_aside(Path(self._settings.log)):
                _print_to(self._settings.log)
        asyncio.get_running_loop().call_later(_LOOKS_AT_LOG_S, self._look_at_log)

    def _let_go(self) -> None:
        """Let go of the sockets, in a process that a plan or a device forked: they would outlive this one's end."""
        there = self._silent if self._connection is None else [*self._silent, self._connection]
        nothing = os.open(os.devnull, os.O_RDWR)
        for opened in (self._listening, *(connection.transport.get_extra_info("socket") for connection in there)):
            with contextlib.suppress(OSError):  # closed before
                os.dup2(nothing, opened.fileno(), inheritable=False)
        os.close(nothing)

    async def _given_up(self, host: EngineHost) -> bool:
        """Wait for a service; return whether none has come in time. While a plan runs the time does not count."""
        longest_s = self._settings.waits_s
        waited_s = 0.0
        step_s = min(1.0, longest_s / 5)
        while waited_s < (min(longest_s, _EMPTY_WAITS_S) if host.has_nothing else longest_s):
            if not os.path.exists(self._settings.turns):  # noqa: ASYNC240, PTH110 - a local file
                break  # nobody finds it any more, whatever moves
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(step_s):  # `wait_for` may lose a cancellation
                    await self._news.wait()
            if self._connection is not None or self._news.is_set():
                return False
            waited_s = 0.0 if host.moving else waited_s + step_s
        if not host.has_nothing:
            _log.error("no service came back: what was measured for it is given up")
        await host.end("no service came back", _ENDS_WITHIN_S)
        return True

    def _accepted(self) -> FrameProtocol:
        host = self._host
        assert host is not None  # noqa: S101 - it is there before anybody is accepted

        def heard(message: Message) -> None:
            if connection.open:  # no other has taken over meanwhile
                self._serve(connection)
                host.hear(message)

        def lost() -> None:
            if self._connection is not connection:
                self._silent.remove(connection)
                return
            self._connection = None
            host.connect(None)
            if self._silent:
                self._serve(self._silent[-1])
            self._news.set()

        connection = FrameProtocol(heard, lost, room=host.kept.send, made=self._welcome)
        return connection

    def _welcome(self, connection: FrameProtocol) -> None:
        """Say hello; hang up on anybody else's process."""
        assert self._host is not None  # noqa: S101 - see _accepted
        if _hung_up(connection):
            return
        self._silent.append(connection)
        if self._connection is None:
            self._serve(connection)
        connection.send([("hello", self._host.hello)])

    def _serve(self, connection: FrameProtocol) -> None:
        """Let a connection be the service's from here on."""
        if self._connection is connection:
            return
        assert self._host is not None  # noqa: S101 - see _accepted
        if self._connection is not None:
            self._connection.close()
            self._host.connect(None)
        self._silent.remove(connection)
        self._connection = connection
        self._host.connect(connection)
        self._news.set()


def _hung_up(connection: FrameProtocol) -> bool:
    """Hang up on another user's process; return whether it was one."""
    if engine_socket.owner_of(connection.transport.get_extra_info("socket")) == os.geteuid():
        return False
    connection.close()
    return True


class _Relay(logging.Handler):
    """Hands what is logged to the service."""

    def __init__(self, host: EngineHost) -> None:
        super().__init__(logging.WARNING)
        self._host = host

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            self._host.kept.say(("log", record.levelno, record.name, record.getMessage()))


def main(number: int, imports: Sequence[str]) -> NoReturn:
    """Be the RunEngine's process; its settings come on standard input, and until then it imports modules.

    ``number`` is that of the socket on which it listens.
    """
    for module in imports:
        if select.select([sys.stdin], [], [], 0)[0]:  # it is waited for
            break
        with contextlib.suppress(Exception):  # said by who needs it
            importlib.import_module(module)
    payload = sys.stdin.buffer.read()
    if not payload:  # nobody needs it
        _end(0)
    settings: ChildSettings = pickle.loads(payload)  # noqa: S301 - from the service that started it
    sys.path[:] = settings.path
    _stay_on(settings.engine.cpu_affinity)
    _print_to(settings.log)
    faulthandler.enable(all_threads=False)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    listening = socket.socket(fileno=number)
    try:
        loaded = settings.engine.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - told the service
        _log.exception("the startup could not be loaded")
        asyncio.run(_refuse(listening, say_why(error)))
        _end(1)
    gc.freeze()  # a full collection among all that was imported would hold the RunEngine up
    sys.setswitchinterval(_SWITCH_S)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_live(settings, listening, loaded))
    _end(_BROKEN)


def _stay_on(processors: Sequence[int]) -> None:
    """Have all threads, and those that they start, use some of the machine's processors only; none given: all."""
    if processors:
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 - numbers; imports started some, perhaps
            os.sched_setaffinity(int(thread), processors)


def _print_to(log: str) -> None:
    """Have everything that is printed, here and in what is started here, written to a file; nothing can be typed."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    output, nothing = os.open(log, flags, 0o600), os.open(os.devnull, os.O_RDONLY)
    for number, place in enumerate((nothing, output, output)):
        os.dup2(place, number)
    os.close(output)
    os.close(nothing)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - the one before is at its end


async def _live(settings: ChildSettings, listening: socket.socket, loaded: LoadedStartup) -> None:
    await EngineChild(settings, listening).live(loaded)
    _end(0)


def _end(code: int) -> NoReturn:
    """End here and now: threads of a startup, and those that ask devices, hold up nobody."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


async def _refuse(listening: socket.socket, why: str) -> None:
    """Tell the service that there is no RunEngine here, and why."""
    refused = asyncio.Event()

    def tell(connection: FrameProtocol) -> None:
        if _hung_up(connection):
            return
        connection.send([("failed", why)])
        refused.set()

    def accepted() -> FrameProtocol:
        return FrameProtocol(lambda message: None, lambda: None, made=tell)

    async with await asyncio.get_running_loop().create_unix_server(accepted, sock=listening):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EMPTY_WAITS_S):
                await refused.wait()
        await asyncio.sleep(0)
