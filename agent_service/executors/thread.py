"""The thread executor: each brain in a daemon thread of its own, replaced when a call is abandoned.

A thread cannot be killed. A call past its deadline is abandoned instead: its object is never called again, and its late
result is ignored; what it awaits is cancelled. A pool would keep the interpreter alive after such a call; a daemon
thread does not.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any

from agent_service.brains.coroutines import Coroutines
from agent_service.errors import ServiceError
from agent_service.executors.handle import Handle, as_faults, fault
from agent_service.executors.notices import Delivery, reporting

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.protocols import Notice

_Job = tuple["Callable[[object], Any]", "asyncio.Future[Any]"]


class ThreadExecutor:
    """Hosts brains in threads of this process."""

    isolated = False
    needs_pickle = False

    def __init__(self, *, on_call: Callable[[str, float], None] | None = None) -> None:
        self._on_call = on_call

    async def start(  # noqa: PLR0913 - what there is to say of it, by name
        self,
        build: Callable[[], object],
        *,
        name: str,
        timeout_s: float,
        memory_limit_mb: int | None = None,
        libraries: Sequence[str] = (),
        resources: Mapping[str, float] | None = None,
        on_notice: Callable[[Notice], None] | None = None,
        on_wait: Callable[[str | None], None] | None = None,
    ) -> ThreadHandle:
        """Build the object in a new thread and return a handle on it. See `protocols.Executor`."""
        with as_faults(name):  # there may be no thread left
            handle = ThreadHandle(name, on_notice=on_notice, on_call=self._on_call)
        await handle.build(build, timeout_s=timeout_s)
        return handle

    def why_not(self) -> str | None:
        """Return None: there are threads everywhere."""
        return None

    async def close(self) -> None:
        """Do nothing: each thread ends with its handle."""


class ThreadHandle(Handle):
    """A handle on an object in a thread of its own; belongs to one event loop."""

    def __init__(
        self,
        name: str,
        *,
        on_notice: Callable[[Notice], None] | None = None,
        on_call: Callable[[str, float], None] | None = None,
    ) -> None:
        super().__init__(name, on_call=on_call)
        self._notices = None if on_notice is None else Delivery(on_notice, loop=self._loop)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._coroutines = Coroutines()
        self._object: object | None = None
        self._thread = threading.Thread(target=self._work, name=f"agent:{name}", daemon=True)
        self._thread.start()

    async def build(self, build: Callable[[], object], *, timeout_s: float) -> None:
        """Make the object, in its thread; a failure or a passed deadline ends the thread."""

        def make(_: object) -> None:
            self._object = build()

        try:
            await self._do("start", lambda future: self._put((make, future)), timeout_s)
        except ServiceError:
            await self.close()
            raise

    def _begin(self, present: asyncio.Future[Any], method: str, args: tuple[object, ...]) -> None:
        self._put((lambda target: getattr(target, method)(*args), present))

    def _left_behind(self) -> str:
        if self._coroutines.under_way:
            return ""  # it is cancelled
        return '; its thread computes on until it ends by itself, which executor = "process" would not let it'

    def _discard(self) -> None:
        self._coroutines.give_up()
        self._put(None)
        if self._notices is not None:
            self._notices.close()

    def _put(self, job: _Job | None) -> None:
        self._jobs.put(job)
        self._coroutines.wake()

    def _next(self) -> _Job | None:
        """Wait for the next job; what the object's code left running goes on meanwhile."""
        while self._jobs.empty() and self._coroutines.rest(until=lambda: not self._jobs.empty()):
            continue
        return self._jobs.get()

    def _work(self) -> None:
        with self._coroutines.serving():
            self._serve()
        self._object = None

    def _serve(self) -> None:
        while (job := self._next()) is not None and self._dead is None:
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
