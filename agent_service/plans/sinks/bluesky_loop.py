"""The event loop that ophyd-async devices of a startup live on, and with them the service's RunEngine.

Such a device is connected on bluesky's loop and can be used on no other. So that loop is there before a startup is
loaded, and lasts as long as the process: a module is loaded once, whoever serves it again.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

kept: list[asyncio.AbstractEventLoop] = []
"""Loops that were made here."""


def running() -> asyncio.AbstractEventLoop:
    """Return bluesky's event loop, and make it run if none does. Imports bluesky: call it from a worker thread."""
    from bluesky import run_engine  # noqa: PLC0415 - a third of a second, and the service is up before

    loop: asyncio.AbstractEventLoop | None = run_engine.get_bluesky_event_loop()
    if loop is None or not loop.is_running():
        loop = run_engine.RunEngine({}, context_managers=[]).loop
        kept.append(loop)
    return loop
