"""Tells the pages of a panel that their kernel lives, and lets them reach the service when it does not.

The live thread sends beats, so they go on while a cell blocks. They stop a while after the last page was there, because
each beat counts as activity of the kernel, which would never be culled.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.client import AsyncClient

BEAT_S: Final = 0.5
PAGE_LASTS_S: Final = 600.0
"""How long after a page was there the kernel beats; pages say every 30 s that they are."""

LATE_S: Final = 1.5
"""A press that waited so long, behind a cell for example, is not done: its page takes another way after 2 s."""

RENEW_S: Final = 600.0
RETRY_S: Final = 5.0
MAX_ORIGINS: Final = 16


class Heartbeat:
    """The beats of one panel, and the keys of its pages. Belongs to the live thread, but for `now` and `is_late`.

    Keys of the service at ``url`` go to the pages by messages alone, with ``say``: what is a trait may be saved in the
    notebook.
    """

    def __init__(self, url: str, say: Callable[[dict[str, Any]], None]) -> None:
        self._url = url
        self._say = say
        self._keys: dict[str, str | None] = {}  # by origin
        self._until = 0.0
        self._wake = asyncio.Event()

    async def here(self, origin: str, _: AsyncClient) -> None:
        """Note that a page of this origin is there."""
        self._until = time.monotonic() + PAGE_LASTS_S
        if origin in self._keys:
            self._tell(origin)
        elif len(self._keys) < MAX_ORIGINS:
            self._keys[origin] = None
            self.renew()

    def renew(self) -> None:
        """Renew the keys now: the service may be a new one."""
        self._wake.set()

    @staticmethod
    def now() -> float:
        """Return the time that a beat tells, in seconds; any thread."""
        return time.monotonic()

    @staticmethod
    def is_late(beat: object) -> bool:
        """Return whether a press that followed on this beat has waited too long; any thread."""
        return isinstance(beat, int | float) and Heartbeat.now() - beat > LATE_S

    async def beat(self, _: AsyncClient) -> None:
        """Beat, for ever."""
        while True:
            if time.monotonic() < self._until:
                self._say({"beat": self.now()})
            await asyncio.sleep(BEAT_S)

    async def keep_keys(self, client: AsyncClient) -> None:
        """Make keys for the pages that come, and renew them, for ever."""
        while True:
            self._wake.clear()
            wait_s = RENEW_S
            for origin in tuple(self._keys):
                try:
                    made = await client.panel_key(origin, renews=self._keys[origin])
                except BackendUnavailable:
                    wait_s = RETRY_S
                except ServiceError:  # an older service, a refused key, or a page that is none of the web
                    self._keys[origin] = None
                else:
                    self._keys[origin] = made.key
                    self._tell(origin)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    def _tell(self, origin: str) -> None:
        if (key := self._keys[origin]) is not None:
            self._say({"way": {"origin": origin, "key": key, "url": self._url}})
