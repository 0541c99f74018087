"""The thread executor: each brain in a daemon thread of its own, replaced when a call is abandoned.

A thread cannot be killed. A call past its deadline is abandoned instead: its object is never called again, and its late
result is ignored. A pool would keep the interpreter alive after such a call; a daemon thread does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import traceback
from typing import TYPE_CHECKING, Any

from agent_service.errors import AgentFault, DeadlineExceeded, ServiceError
from agent_service.models import utcnow, utf8
from agent_service.notices import Delivery, reporting

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent_service.notices import Notice

_Job = tuple["Callable[[object], Any]", "asyncio.Future[Any]"]


class ThreadExecutor:
    """Hosts brains in threads of this process."""

    kind = "thread"

    async def start(
        self,
        build: Callable[[], object],
        *,
        name: str,
        timeout_s: float,
        tell: Callable[[Notice], None] | None = None,
    ) -> ThreadHandle:
        """Build the object in a new thread and return a handle on it. See `protocols.Executor`."""
        handle = ThreadHandle(name, tell=tell)
        await handle.build(build, timeout_s=timeout_s)
        return handle


class ThreadHandle:
    """A handle on an object in a thread of its own; belongs to one event loop.

    Parameters
    ----------
    name
        The agent's name, for the thread's name and messages.
    tell
        Called on the event loop with what the object's code reports and logs.
    """

    def __init__(self, name: str, *, tell: Callable[[Notice], None] | None = None) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._notices = None if tell is None else Delivery(tell, loop=self._loop)
        self._busy: tuple[str, datetime] | None = None
        self._object: object | None = None
        self._dead: str | None = None
        self._present: asyncio.Future[Any] | None = None
        self._thread = threading.Thread(target=self._work, name=f"agent:{name}", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> tuple[str, datetime] | None:
        """The call it is in and since when, or None."""
        return self._busy

    async def build(self, build: Callable[[], object], *, timeout_s: float) -> None:
        """Make the object, in its thread; a failure or a passed deadline ends the thread."""

        def make(_: object) -> None:
            self._object = build()

        try:
            await self._do("start", make, timeout_s)
        except ServiceError:
            await self.close()
            raise

    async def call(self, method: str, *args: Any, timeout_s: float) -> Any:
        """Call a method of the object, when its turn comes. See `protocols.AgentHandle`."""
        return await self._do(method, lambda target: getattr(target, method)(*args), timeout_s)

    async def close(self) -> None:
        """Discard the object; a call under way raises `AgentFault` at its caller. Returns at once."""
        self._end(f"agent {self._name!r} was stopped during the call")

    async def _do(self, method: str, work: Callable[[object], Any], timeout_s: float) -> Any:
        async with self._turn:
            if self._dead is not None:
                raise AgentFault(self._dead)
            self._busy = (method, utcnow())
            self._present = self._loop.create_future()
            self._jobs.put((work, self._present))
            try:
                return await asyncio.wait_for(asyncio.shield(self._present), timeout_s)
            except TimeoutError:
                self._end(f"agent {self._name!r} was abandoned in {method}; restart it")
                raise DeadlineExceeded(
                    f"agent {self._name!r} did not end {method} within {timeout_s:g} s; it was abandoned: restart it, "
                    "or allow more in timeouts"
                ) from None
            except asyncio.CancelledError:
                self._end(f"agent {self._name!r} was abandoned in {method}; restart it")
                raise
            finally:
                self._busy = None
                self._present = None

    def _end(self, why: str) -> None:
        if self._dead is None:
            self._dead = why
            self._jobs.put(None)
            if self._notices is not None:
                self._notices.close()
        if self._present is not None and not self._present.done():
            self._present.set_exception(AgentFault(self._dead))
            self._present.exception()  # nobody may be waiting any more

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and self._dead is None:
            work, future = job
            try:
                with reporting(self._notices and self._notices.put):
                    result = work(self._object)
            except ServiceError as error:
                self._deliver(future, error=error)
            except BaseException as error:  # noqa: BLE001 - the agent boundary: SystemExit is the agent's fault too
                self._deliver(future, error=fault(error))
            else:
                self._deliver(future, result=result)
        self._object = None

    def _deliver(self, future: asyncio.Future[Any], *, result: Any = None, error: ServiceError | None = None) -> None:
        def settle() -> None:
            if future.done():  # abandoned meanwhile: a late result is ignored
                return
            if self._notices is not None:
                self._notices.flush()
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(settle)


def fault(error: BaseException) -> AgentFault:
    """Turn what an agent raised into an `AgentFault` with its traceback, without the executor's own frames."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("agent_service.executors"):
        frames = frames.tb_next
    try:
        line = " ".join(str(error).split())
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception as second:  # noqa: BLE001 - even its message may raise
        line, text = f"and its message could not be made ({type(second).__name__})", ""
    said = f"{type(error).__name__}: {line}" if line else type(error).__name__
    result = AgentFault(utf8(said), traceback=utf8(text))
    result.__cause__ = error
    return result
