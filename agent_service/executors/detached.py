"""What nobody can call off, imports and a startup script, in a thread that holds up neither a stop nor the exit."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_NAME: Final = "detached:"
_ALSO: Final = "run-engine-driver"
"""A thread of its own kind, which imports bluesky before it does anything else."""


def begin_detached(work: Callable[[], T], *, name: str) -> Future[T]:
    """Call a function in a daemon thread of its own; a pool would hold up the end of the process."""
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            future.set_exception(error)

    threading.Thread(target=call, name=name, daemon=True).start()
    return future


async def run_detached(work: Callable[[], T], *, name: str) -> T:
    """Return what a function returns that is called as by `begin_detached`.

    A caller that is cancelled goes on at once, and the thread is left behind; what it returns then is ignored.
    """
    return await asyncio.shield(asyncio.wrap_future(begin_detached(work, name=f"{_NAME}{name}")))


def still_running() -> list[str]:
    """Return what is still at work in threads of `run_detached`, or making a RunEngine, when the service has ended."""
    names = [thread.name for thread in threading.enumerate()]
    return [name.removeprefix(_NAME) for name in names if name.startswith((_NAME, _ALSO))]
