"""Whether the RunEngine's process answers: it lives, but a device that hangs may hold its interpreter for ever."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from agent_service.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.plans.sinks.engine_process._link import EngineLink

EVERY_S: Final = 5.0
ANSWERS_WITHIN_S: Final = 10.0
"""How long it may take to say that it is there; a busy machine is no reason to worry anybody."""


class Pulse:
    """Asks the process now and then; ``why`` says since when it has not answered. Belongs to the event loop."""

    def __init__(self, link: EngineLink, on_change: Callable[[], None]) -> None:
        self.why: str | None = None
        self._link = link
        self._on_change = on_change
        self._asking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._asking = asyncio.create_task(self._ask(), name="pulse of the RunEngine's process")

    def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            asked_at = time.strftime("%b %d %H:%M:%S")
            silent = False
            try:
                await self._link.call("here", timeout_s=ANSWERS_WITHIN_S)
            except BackendUnavailable:
                silent = self._link.up  # else it is said that it has ended
            if silent != (self.why is not None):
                says = f"the RunEngine's process has not answered since {asked_at}: a device or a plan holds its"
                self.why = f"{says} interpreter, perhaps; Stop everything ends it" if silent else None
                self._on_change()
