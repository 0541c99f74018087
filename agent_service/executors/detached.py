"""What nobody can call off, imports and a startup script, in a thread that holds up neither a stop nor the exit."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_NAME: Final = "detached:"
_ALSO: Final = "run-engine-driver"
"""A thread of its own kind, which imports bluesky before it does anything else."""


def begin_detached(work: Callable[[], T], *, name: str) -> Future[T]:
    """Call a function in a daemon thread of its own; a pool would hold up the end of the process."""
    future: Future[T] = Future()
    threading.Thread(target=_settle, args=(future, work), name=name, daemon=True).start()
    return future


class DetachedThread:
    """Calls functions in a daemon thread that is kept; while one is at work, the next gets another thread. From any."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._last: Future[Any] | None = None

    def begin(self, work: Callable[[], T]) -> Future[T]:
        """Call a function, at once."""
        future: Future[T] = Future()
        with self._lock:
            if self._last is None or not self._last.done():
                self._calls.put(None)  # the thread that is busy ends with what it does
                self._calls = SimpleQueue()
                threading.Thread(target=_serve, args=(self._calls,), name=self._name, daemon=True).start()
            self._last = future
            self._calls.put(lambda: _settle(future, work))
        return future


def _serve(calls: SimpleQueue[Callable[[], None] | None]) -> None:
    while (call := calls.get()) is not None:
        call()


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - raised where it is awaited
        future.set_exception(error)
    else:
        future.set_result(result)


async def run_detached(work: Callable[[], T], *, name: str) -> T:
    """Return what a function returns that is called as by `begin_detached`.

    A caller that is cancelled goes on at once, and the thread is left behind; what it returns then is ignored.
    """
    return await asyncio.shield(asyncio.wrap_future(begin_detached(work, name=f"{_NAME}{name}")))


def still_running() -> list[str]:
    """Return what is still at work in threads of `run_detached`, or making a RunEngine, when the service has ended."""
    names = [thread.name for thread in threading.enumerate()]
    return [name.removeprefix(_NAME) for name in names if name.startswith((_NAME, _ALSO))]
