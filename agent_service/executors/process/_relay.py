"""A handle for who passes on calls and results between an agent's process and somebody else, and unpickles neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from agent_service.executors.process._executor import ProcessHandle

if TYPE_CHECKING:
    import asyncio


class RelayHandle(ProcessHandle):
    """A handle on an object in a process of this machine, whose caller is elsewhere."""

    async def relay(self, call: bytes) -> bytes:
        """Pass on a pickled ``(method, args)``, and return its result, pickled.

        The deadline is the caller's to keep, who hangs up then. Raises as `BrainHandle.call` does.
        """
        return cast("bytes", await self._do("call", lambda present: self._send_call(call), None))

    def _take_result(self, present: asyncio.Future[Any], payload: bytes) -> None:
        present.set_result(payload)
