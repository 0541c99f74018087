"""What handles on objects in other processes share: calls and results are pickled, long ones in a thread."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

from agent_service.executors.handle import Handle
from agent_service.executors.pickling import QUICK, cannot_load, pickled, quickly_pickled

if TYPE_CHECKING:
    from collections.abc import Callable


class RemoteHandle(Handle):
    """A handle on an object in another process; belongs to one event loop."""

    def __init__(self, name: str, *, on_call: Callable[[str, float], None] | None = None) -> None:
        super().__init__(name, on_call=on_call)
        self._loading: asyncio.Task[None] | None = None

    def _begin(
        self, present: asyncio.Future[Any], method: str, args: tuple[object, ...]
    ) -> asyncio.Future[None] | None:
        payload = quickly_pickled((method, args))
        if payload is not None:
            self._send_call(payload)
            return None
        return asyncio.ensure_future(self._send_slowly((method, args)))

    async def _send_slowly(self, call: object) -> None:
        self._send_call(await asyncio.to_thread(pickled, call))

    def _send_call(self, payload: bytes) -> None:
        """Send a pickled ``(method, args)``; what stands in the way of that is told as the end of the process."""
        raise NotImplementedError

    def _take_result(self, present: asyncio.Future[Any], payload: bytes) -> None:
        """Give a call what it returned, as the other process pickled it."""
        if len(payload) > QUICK:
            self._loading = self._loop.create_task(_load_slowly(present, payload))
            return
        try:
            present.set_result(pickle.loads(payload))  # noqa: S301 - from a process of ours
        except BaseException as error:  # noqa: BLE001 - whatever its own __setstate__ raises, SystemExit too
            present.set_exception(cannot_load(error))


async def _load_slowly(present: asyncio.Future[Any], payload: bytes) -> None:
    result, failure = None, None
    try:
        result = await asyncio.to_thread(pickle.loads, payload)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        failure = cannot_load(error)
    if present.done():
        return
    if failure is None:
        present.set_result(result)
    else:
        present.set_exception(failure)
