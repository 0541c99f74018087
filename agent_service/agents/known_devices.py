"""The devices that agents may name, as the sink lists them: asked off the event loop, and remembered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agent_service.errors import ServiceError, texts
from agent_service.executors.detached import run_detached
from agent_service.models import DeviceList, utcnow

if TYPE_CHECKING:
    from agent_service.protocols import PlanSink

ANSWERS_WITHIN_S: Final = 12.0
"""How long whoever asks waits, before what was listed last is told."""


class KnownDevices:
    """Asks a sink for its devices, once for all who want to know meanwhile; belongs to the event loop."""

    def __init__(self, sink: PlanSink) -> None:
        self._sink = sink
        self._last = DeviceList(items=[])
        self._asking: asyncio.Task[None] | None = None

    async def list(self) -> DeviceList:
        """Return the devices, or those that were listed last and why there is no answer now."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="list devices")
        done, _ = await asyncio.wait({self._asking}, timeout=ANSWERS_WITHIN_S)
        if not done:
            return self._last.model_copy(update={"reason": f"no answer within {ANSWERS_WITHIN_S:g} s"})
        return self._last

    async def _ask(self) -> None:
        try:
            devices = await run_detached(self._sink.list_devices, name="list devices")
        except ServiceError as error:
            self._last = self._last.model_copy(update={"reason": error.detail})
        except Exception as error:  # noqa: BLE001 - whatever a namespace of somebody's raises
            self._last = self._last.model_copy(update={"reason": texts.describe(error)})
        else:
            self._last = DeviceList(items=devices, asked_at=utcnow())
