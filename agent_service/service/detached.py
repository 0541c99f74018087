"""What nobody can call off, imports and a startup script, in a thread that holds up neither a stop nor the exit."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_NAME: Final = "detached:"
_ALSO: Final = "run-engine-driver"
"""A thread of its own kind, which imports bluesky before it does anything else."""


async def run_detached(work: Callable[[], T], *, name: str) -> T:
    """Call a function in a daemon thread of its own and return what it returns.

    A caller that is cancelled goes on at once, and the thread is left behind; what it returns then is ignored. A pool
    would hold up the end of the event loop, and that of the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: object, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def call() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=call, name=f"{_NAME}{name}", daemon=True).start()
    return await future


def still_running() -> list[str]:
    """Return what is still at work in threads of `run_detached`, or making a RunEngine, when the service has ended."""
    names = [thread.name for thread in threading.enumerate()]
    return [name.removeprefix(_NAME) for name in names if name.startswith((_NAME, _ALSO))]
