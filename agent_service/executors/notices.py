"""Notices of an agent's code from inside a call: its progress, and what it logs.

An executor runs each call within `reporting`. `progress` and standard logging find it by a context variable, so the
agent's code needs no handle and runs unchanged outside a service.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections import deque
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import texts
from agent_service.protocols import LogNotice, Notice, ProgressNotice

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

MAX_MESSAGE: Final = 2000
"""Longest message that is passed on, in characters."""

MAX_LINES: Final = 100
"""Most log lines that wait to be told; the oldest are left out, and a line says how many."""

INTERVAL_S: Final = 0.1
"""An agent's notices are told at most so often; a batch of many log lines is followed by a longer pause."""

_LINES_PER_INTERVAL: Final = 10


_tell: ContextVar[Callable[[Notice], None] | None] = ContextVar("agent_service_tell", default=None)


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Tell how far the present call of an agent is; does nothing outside a call.

    It shows in the agent's status, in its job, in the event stream and in the panel. Call it as often as you like: it
    is told about ten times a second, and the last time always. Call it in the thread of the call, or in one started
    with ``contextvars.copy_context().run``.

    Parameters
    ----------
    done
        How much is done, in any unit. What is not finite is not told.
    total
        How much there is to do, or None when that is unknown.
    message
        What is being done, in a few words.

    Examples
    --------
    >>> def suggest(num_points=None):
    ...     for epoch in range(3):
    ...         progress(epoch + 1, 3, "training")
    ...     return []
    >>> suggest()
    []
    """
    tell = _tell.get()
    if tell is None:
        return
    counted, whole = _number(done), None if total is None else _number(total)
    if counted is not None:
        tell(ProgressNotice(counted, whole, _short(str(message))))


@contextlib.contextmanager
def reporting(tell: Callable[[Notice], None] | None) -> Generator[None]:
    """Let what is told within the block go to ``tell``, in the thread that tells it; None: nowhere.

    ``tell`` must neither block nor raise.
    """
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


class NoticeBuffer:
    """What was told and is not delivered yet: the newest progress, and the newest log lines. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: ProgressNotice | None = None
        self._lines: deque[LogNotice] = deque(maxlen=MAX_LINES)
        self._left_out = 0

    def put(self, notice: Notice) -> bool:
        """Keep a notice; return whether there was none, so that somebody must come for it."""
        with self._lock:
            first = self._progress is None and not self._lines
            if isinstance(notice, ProgressNotice):
                self._progress = notice
            else:
                self._left_out += len(self._lines) == MAX_LINES
                self._lines.append(notice)
            return first

    def pop_all(self) -> list[Notice]:
        """Return what is there, log lines in their order and progress last, and forget it."""
        with self._lock:
            batch: list[Notice] = list(self._lines)
            if self._left_out:
                batch.insert(0, LogNotice("warning", f"{self._left_out} lines were left out: too many at once"))
            if self._progress is not None:
                batch.append(self._progress)
            self._lines.clear()
            self._progress, self._left_out = None, 0
            return batch


def pause_after(batch: list[Notice]) -> float:
    """Return how long to wait after telling ``batch`` before telling more, in seconds."""
    return INTERVAL_S * max(1.0, len(batch) / _LINES_PER_INTERVAL)


class Delivery:
    """Brings notices to an event loop, about ten times a second, so that no agent can flood it."""

    def __init__(self, on_notice: Callable[[Notice], None], *, loop: asyncio.AbstractEventLoop) -> None:
        self._on_notice = on_notice
        self._loop = loop
        self._buffer = NoticeBuffer()
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def put(self, notice: Notice) -> None:
        """Take a notice, from any thread; it is told when its time comes."""
        if self._closed or not self._buffer.put(notice):
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
            # an empty context: the agent's own must not mark what the service logs as the agent's
            self._loop.call_soon_threadsafe(self._arm, context=Context())

    def flush(self) -> None:
        """Tell what is there, at the end of a call for example. On the event loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = self._buffer.pop_all()
        if batch and not self._closed:
            self._next_at = self._loop.time() + pause_after(batch)
            for notice in batch:
                self._on_notice(notice)

    def close(self) -> None:
        """Tell nothing more. On the event loop."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_at(self._next_at, self.flush)


class _Tap:
    """Listens to standard logging as long as somebody wants it to.

    It is a factory of log records and no handler: a handler of the root logger would keep a user's own
    ``logging.basicConfig`` from having any effect, and Python's last resort from printing warnings.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._before: Callable[..., logging.LogRecord] | None = None

    def want(self) -> None:
        with self._lock:
            self._wanted += 1
            if self._before is None:
                self._before = logging.getLogRecordFactory()
                logging.setLogRecordFactory(self._make)

    def release(self) -> None:
        with self._lock:
            self._wanted -= 1
            # where somebody put a factory over ours, ours stays below it and tells nothing
            if not self._wanted and self._before is not None and logging.getLogRecordFactory() == self._make:
                logging.setLogRecordFactory(self._before)
                self._before = None

    def _make(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = (self._before or logging.LogRecord)(*args, **kwargs)
        tell = _tell.get()
        if tell is not None and self._wanted:
            with reporting(None):  # what is logged on the way must not come by here again
                tell(LogNotice(record.levelname.lower(), _line(record), record.name))
        return record


_tap = _Tap()


@contextlib.contextmanager
def listening_to_logs() -> Generator[None]:
    """Let what an agent's code logs within `reporting` be told, beside going where logging is configured to take it.

    The levels of loggers count as ever. Several at a time do not tell a line twice.
    """
    _tap.want()
    try:
        yield
    finally:
        _tap.release()


def _line(record: logging.LogRecord) -> str:
    try:
        line = record.getMessage()
    except Exception as error:  # noqa: BLE001 - the agent's own arguments; logging itself says the rest on stderr
        line = f"{record.msg} ({type(error).__name__} in its arguments)"
    if record.exc_info and record.exc_info[0] is not None:
        line += f" ({record.exc_info[0].__name__}: {record.exc_info[1]})"
    return _short(line)


def _short(text: str) -> str:
    return texts.printable(texts.cut(text, most=MAX_MESSAGE))


def _number(value: float) -> float | None:
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number
