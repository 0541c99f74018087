"""An agent's process after the fork: it builds the object, answers calls, and exits when the service is gone."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import pickle
import random
import resource
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from agent_service.brains.coroutines import Coroutines
from agent_service.errors import AgentFault, ServiceError, texts
from agent_service.executors.handle import fault
from agent_service.executors.notices import NoticeBuffer, listening_to_logs, pause_after, reporting
from agent_service.executors.process._frames import MAX_PAYLOAD, Kind, frame, packed_error, read

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from agent_service.protocols import Notice

_CACHES: Final = ("TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "NUMBA_CACHE_DIR")
"""Variables that say where libraries keep what they compile: a child that is killed meanwhile leaves a lock there, for
which every other one would wait for ever."""

_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
_MB: Final = 1 << 20
_BROKEN: Final = 70
"""Exit code when the executor itself is at fault (EX_SOFTWARE)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a child is told before it builds anything.

    The agent's name, for ``ps``, the service's ``sys.path`` and working directory, a folder for what libraries compile,
    which is the child's own, and the most memory for data in MB (2**20 bytes), libraries included; None: no limit.
    """

    name: str
    import_path: tuple[str, ...]
    folder: str
    caches: str
    memory_limit_mb: int | None = None


class Child:
    """Hosts one object and answers the calls that come over a connection, one at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._coroutines = Coroutines()
        self._target: object = None
        self._memory_limit_mb: int | None = None
        self._notices = NoticeBuffer()
        self._told = threading.Event()
        self._teller: threading.Thread | None = None

    def live(self) -> NoReturn:
        """Answer until the service hangs up, then exit; never returns."""
        threading.Thread(target=self._exit_with_the_service, name="service-watch", daemon=True).start()
        self._send(Kind.HELLO, str(os.getpid()).encode())
        # told to the service, and so not printed for it as well
        logging.lastResort = logging.NullHandler()  # pyright: ignore[reportAttributeAccessIssue] - any handler will do
        logging.getLogger().setLevel(logging.INFO)
        with listening_to_logs(), self._coroutines.serving():
            self._serve()
        _end()

    def _serve(self) -> None:
        while (message := self._next()) is not None:
            kind, payload = message
            if kind is Kind.SETTINGS:
                self._settle(pickle.loads(payload))  # noqa: S301 - from the service
            else:
                self._answer(self._build if kind is Kind.BUILD else self._call, payload)

    def _next(self) -> tuple[Kind, bytes] | None:
        try:
            self._coroutines.rest_until_readable(self._connection.fileno())
            return read(self._connection)
        except OSError:
            return None

    def _settle(self, settings: Settings) -> None:
        self._memory_limit_mb = settings.memory_limit_mb
        sys.path[:] = settings.import_path
        os.environ.update({name: os.path.join(settings.caches, name.lower()) for name in _CACHES})  # noqa: PTH118 - text
        with contextlib.suppress(OSError):  # it may be gone by now; most agents do not care
            os.chdir(settings.folder)
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(f"agent:{settings.name}"[:15], encoding="utf-8")
        _seed()
        self._limit_memory(on=True)

    def _build(self, payload: bytes) -> None:
        self._target = pickle.loads(payload)()  # noqa: S301 - from the service

    def _call(self, payload: bytes) -> object:
        method, args = pickle.loads(payload)  # noqa: S301 - from the service
        return getattr(self._target, method)(*args)

    def _answer(self, work: Callable[[bytes], object], payload: bytes) -> None:
        try:
            with reporting(self._tell):
                result = work(payload)
        except ServiceError as error:
            self._finish(Kind.ERROR, packed_error(error))
        except MemoryError as error:
            self._out_of_memory(error)
        except BaseException as error:  # noqa: BLE001 - the agent boundary: SystemExit is the agent's fault too
            self._finish(Kind.ERROR, packed_error(fault(error)))
        else:
            self._return(result)

    def _return(self, result: object) -> None:
        import cloudpickle  # noqa: PLC0415 - in the agent's process only

        try:
            payload = cloudpickle.dumps(result)  # pyright: ignore[reportUnknownMemberType]
            if len(payload) > MAX_PAYLOAD:
                raise ValueError(f"it takes {len(payload) // _MB} MB pickled")  # noqa: TRY301 - told like the others
        except MemoryError as error:
            self._out_of_memory(error)
        except Exception as error:  # noqa: BLE001 - whatever the result's own __reduce__ raises
            message = f"what it returned cannot be sent to the service: {texts.describe(error)}; return plain values"
            self._finish(Kind.ERROR, packed_error(AgentFault(message)))
        else:
            self._finish(Kind.RESULT, payload)

    def _out_of_memory(self, error: MemoryError) -> None:
        self._limit_memory(on=False)  # telling it takes memory too
        failure = fault(error)
        if self._memory_limit_mb is not None:
            detail = f"{failure.detail.removesuffix(':')} (memory_limit_mb is {self._memory_limit_mb})"
            failure = AgentFault(detail, traceback=failure.traceback)
        self._finish(Kind.ERROR, packed_error(failure))
        error.__traceback__ = None  # its frames hold what took the memory
        gc.collect()
        self._limit_memory(on=True)

    def _limit_memory(self, *, on: bool) -> None:
        if self._memory_limit_mb is not None:
            _, most = resource.getrlimit(resource.RLIMIT_DATA)
            wanted = self._memory_limit_mb * _MB if on else most
            with contextlib.suppress(ValueError):  # above what the system allows, which is a limit too
                resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))

    def _tell(self, notice: Notice) -> None:
        """Take a notice, from any thread; it is sent when its time comes, or before the result of the call."""
        if not self._notices.put(notice):
            return
        if self._teller is None:
            self._teller = threading.Thread(target=self._tell_now_and_then, name="notices", daemon=True)
            self._teller.start()
        self._told.set()

    def _tell_now_and_then(self) -> None:
        while self._told.wait():
            self._told.clear()
            time.sleep(pause_after(self._send_notices()))

    def _send_notices(self) -> list[Notice]:
        batch = self._notices.pop_all()
        if batch:
            self._send(Kind.NOTICES, pickle.dumps(batch))
        return batch

    def _finish(self, kind: Kind, payload: bytes) -> None:
        """Send the answer of a call, after what it told."""
        self._send_notices()
        self._send(kind, payload)

    def _send(self, kind: Kind, payload: bytes) -> None:
        try:
            with self._sending:
                self._connection.sendall(frame(kind, payload))
        except OSError:
            _end()

    def _exit_with_the_service(self) -> None:
        """Wait until the service hangs up, also during a call, and end the process and its children."""
        hung_up = select.poll()
        hung_up.register(self._connection, _HUNG_UP)
        while not hung_up.poll():
            continue
        _end()


def begin(connection: socket.socket, errors: int) -> NoReturn:
    """Be an agent's process from here on. Called right after the fork, in the child."""
    try:
        os.setsid()
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        os.close(errors)
        sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - open while it lives
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - open while it lives
        faulthandler.enable(file=sys.stderr, all_threads=False)
        Child(connection).live()
    except BaseException:  # noqa: BLE001 - it must not run on in the fork server's code
        traceback.print_exc()
    os._exit(_BROKEN)


def _seed() -> None:
    """Seed the global generators anew: the fork copied those of the fork server, the same ones into every child."""
    random.seed()
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.seed()


def _end() -> NoReturn:
    """End this process and what it started; without the fork server's atexit hooks, which are not ours."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    if caches := os.environ.get(_CACHES[0]):
        shutil.rmtree(os.path.dirname(caches), ignore_errors=True)  # noqa: PTH120 - as text
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGKILL)
    os._exit(0)
