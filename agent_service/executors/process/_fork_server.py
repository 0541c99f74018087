"""The fork server: a small process of the service's own that forks agents' processes, with the libraries loaded once.

It has one thread, so that a fork copies all there is. The service talks to it over a socket in fixed-size records; the
descriptors of a new child come with the record that asks for it. It ends when the service hangs up, and kills what it
forked then.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NoReturn

from agent_service.executors.process import _child as child

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORD: Final = struct.Struct("<Bqi")
"""A record: what it says, a process id, an exit status."""

NICENESS: Final = 10
"""How far agents step back behind the service and the RunEngine when there is more to do than processors."""


class Says(IntEnum):
    """What a record says."""

    FORK = 1
    """To the fork server: fork a child on the two descriptors that come with this, a socket and a pipe."""
    RELEASE = 2
    """To the fork server: the process id may be used again; nobody is going to signal it any more."""
    ENDED = 3
    """From the fork server: a child ended, with this status."""
    THREADS = 4
    """From the fork server: what it imported runs threads, so it forks nothing; it waits to be hung up on."""


class ForkServer:
    """Forks, watches and reaps children."""

    def __init__(self, control: socket.socket, preload: Sequence[str]) -> None:
        self._control = control
        self._preload = list(preload)
        self._alive: set[int] = set()

    def serve(self) -> NoReturn:
        """Serve until the service hangs up; never returns."""
        # a handler runs between any two steps of an import, too, so nobody waits for news while one goes on
        signal.signal(signal.SIGCHLD, lambda number, frame: self._tell_ended())
        while True:
            ready, _, _ = select.select([self._control], [], [], 0 if self._preload else None)
            if ready:
                self._obey()
            else:
                _import(self._preload.pop(0))

    def _obey(self) -> None:
        record, descriptors, _, _ = socket.recv_fds(self._control, RECORD.size, 2)
        if not record:
            self._end()
        while len(record) < RECORD.size:
            more = self._control.recv(RECORD.size - len(record))
            if not more:
                self._end()
            record += more
        says, pid, _ = RECORD.unpack(record)
        if says == Says.FORK:
            self._fork(*descriptors)
        else:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _fork(self, connection: int, errors: int) -> None:
        try:
            pid = os.fork()
        except OSError:  # no more processes: the service sees its end of the socket close
            pid = -1
        if pid == 0:
            self._control.close()
            child.begin(socket.socket(fileno=connection), errors)
        os.close(connection)
        os.close(errors)
        if pid > 0:
            self._alive.add(pid)
            self._tell_ended()  # it may have ended before it was known

    def _tell_ended(self) -> None:
        """Tell of children that ended. They stay zombies until released, so that their ids name nobody else."""
        for pid in list(self._alive):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            self._alive.discard(pid)
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            try:
                self._control.sendall(RECORD.pack(Says.ENDED, pid, status))
            except OSError:
                self._end()

    def _end(self) -> NoReturn:
        for pid in self._alive:
            kill_with_group(pid)
        os._exit(0)


def kill_with_group(pid: int) -> None:
    """Kill a child and what it started."""
    for kill in (os.killpg, os.kill):  # it may not lead its group yet
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)


def main(control: int, base: Sequence[str], preload: Sequence[str]) -> NoReturn:
    """Be the fork server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    for name in base:
        _import(name)
    connection = socket.socket(fileno=control)
    threads = os.listdir("/proc/self/task")  # noqa: PTH208 - names suffice
    if len(threads) > 1:  # a fork would copy the locks that they hold, and not them
        connection.sendall(RECORD.pack(Says.THREADS, 0, 0))
        hung_up = select.poll()
        hung_up.register(connection, select.POLLHUP)
        hung_up.poll()
        os._exit(0)
    ForkServer(connection, preload).serve()


def _import(name: str) -> None:
    with contextlib.suppress(Exception):  # an agent that needs it will say why it cannot be imported
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would copy what it only looks at
