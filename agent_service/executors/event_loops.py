"""The event loop of a process or thread of ours."""

from __future__ import annotations

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop as uvicorn alone would choose it: uvloop's, or asyncio's if there is no uvloop."""
    try:
        import uvloop  # noqa: PLC0415 - not made for every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
