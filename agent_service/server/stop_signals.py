"""Event streams end with the server, whoever's server it is.

A server that is not ours, ``uvicorn --factory agent_service:create_app``, waits for open connections before it ends the
application's lifespan. An event stream never ends by itself, so it would wait for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

_HEARD: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def on_stop_signals(tell: Callable[[], None]) -> Generator[None]:
    """Call ``tell`` on the event loop at SIGINT and SIGTERM, and leave the rest to who hears them now.

    Does nothing outside the main thread, where no signals are heard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {number: signal.getsignal(number) for number in _HEARD}

    def hear(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell)
        before[number](number, frame)

    ours = [number for number in _HEARD if callable(before[number])]
    for number in ours:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is hear:
                signal.signal(number, before[number])
