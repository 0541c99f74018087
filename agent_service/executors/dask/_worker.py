"""What runs in a worker of the cluster: seats, which hold what agents take of it, and sessions, which host brains.

A seat is a task of Dask that has left the worker's pool of threads (it has seceded), so it takes no thread, and goes on
until its agent ends: meanwhile the resources are taken, and an adaptive cluster keeps the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import pickle
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import InvalidInput, ServiceError
from agent_service.executors.dask._connection import SESSION, Connection
from agent_service.executors.dask._versions import misfit, versions
from agent_service.executors.process import ProcessExecutor, RelayHandle, packed_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.protocols import Notice

_distributed: Final[Any] = importlib.import_module("distributed")  # it has no types
_machine: Final[Any] = importlib.import_module("distributed.worker_state_machine")

_HOST: Final = "agent_service_host"
_MEMORY_EVERY_S: Final = 10.0


async def seat(key: str, token: str, topic: str, taken_within_s: float) -> None:
    """Hold a seat until its agent has ended, or until nobody has taken it for ``taken_within_s``.

    ``key`` is that of this task; ``topic`` is told on which worker the seat ``token`` is.
    """
    worker = _distributed.get_worker()
    host = getattr(worker, _HOST, None)
    if host is None:
        host = WorkerAgents(worker)
        setattr(worker, _HOST, host)
        worker.handlers[SESSION] = host.serve
    # as `distributed.secede` does, which is for threads
    worker.handle_stimulus(_machine.SecedeEvent(key=key, compute_duration=0.001, stimulus_id=f"agent-seat-{token}"))
    held = host.seats[token] = _Seat()
    try:
        worker.log_event(topic, {"seat": token, "worker": worker.address})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(taken_within_s):
                await held.taken.wait()
        if held.taken.is_set():
            await held.ended.wait()
    finally:
        del host.seats[token]


class _Seat:
    """Whether a session has taken a seat, and whether that session has ended."""

    def __init__(self) -> None:
        self.taken = asyncio.Event()
        self.ended = asyncio.Event()


class WorkerAgents:
    """Hosts the brains of agents on a worker; one in each, for all services that come. Belongs to the worker's loop."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._executor = ProcessExecutor(base=("agent_service.brains.factory",), handle_type=RelayHandle)
        self.seats: dict[str, _Seat] = {}

    async def serve(self, comm: Any, **opening: Any) -> Any:
        """Host one brain until either side hangs up. ``comm`` must be called so: it is how the worker hands it over."""
        held = self.seats.get(opening.pop("seat"))
        if held is None:
            comm.abort()  # it came too late
            return _distributed.Status.dont_reply
        held.taken.set()
        session = _Session(comm, self._executor, self._worker.address, **opening)
        try:
            await session.ended.wait()
        finally:
            await session.close()
            held.ended.set()
        return _distributed.Status.dont_reply


class _Session:
    """One brain on this worker, and the connection to the service that it belongs to."""

    def __init__(
        self,
        comm: Any,
        executor: ProcessExecutor,
        address: str,
        *,
        lost_after_s: float,
        versions: Mapping[str, str],
        **build: Any,
    ) -> None:
        self.ended = asyncio.Event()
        self._executor = executor
        self._address = address
        self._versions = versions
        self._handle: RelayHandle | None = None
        # the service is gone, or cannot be reached: its brain ends here too
        self._connection = Connection(
            comm, lost_after_s=lost_after_s, on_message=self._take, on_lost=lambda why: self.ended.set()
        )
        self._memory: asyncio.Task[None] | None = None
        self._doing = asyncio.create_task(self._begin(**build))

    async def close(self) -> None:
        """End the brain, whatever it is doing."""
        for task in (self._doing, self._memory):
            if task is not None:
                task.cancel()
        if self._handle is not None:
            await self._handle.close()
        self._connection.close()

    def _take(self, message: dict[str, Any]) -> None:
        if message["kind"] == "call":
            self._doing = asyncio.create_task(self._call(message["payload"]))

    async def _begin(
        self,
        *,
        name: str,
        build: bytes,
        timeout_s: float,
        memory_limit_mb: int | None,
        libraries: Sequence[str],
    ) -> None:
        if why := misfit(self._address, versions(), self._versions):
            self._connection.send(kind="refused", payload=packed_error(InvalidInput(why)))
            return
        try:
            handle = await self._executor.start(
                build,
                name=name,
                timeout_s=timeout_s,
                memory_limit_mb=memory_limit_mb,
                libraries=libraries,
                on_notice=self._tell,
            )
        except ServiceError as error:
            self._connection.send(kind="error", payload=packed_error(error))
            return
        assert isinstance(handle, RelayHandle)  # noqa: S101 - the executor was told to make such
        self._handle = handle
        handle.died.add_done_callback(
            lambda died: self._connection.send(kind="died", payload=packed_error(died.result()))
        )
        self._memory = asyncio.create_task(self._watch_memory(handle))
        self._connection.send(kind="result", payload=pickle.dumps(None))

    async def _call(self, call: bytes) -> None:
        assert self._handle is not None  # noqa: S101 - the service calls what was built
        try:
            result = await self._handle.relay(call)
        except ServiceError as error:
            self._connection.send(kind="error", payload=packed_error(error))
        else:
            self._connection.send(kind="result", payload=result)

    def _tell(self, notice: Notice) -> None:
        self._connection.send(kind="notice", payload=pickle.dumps(notice))

    async def _watch_memory(self, handle: RelayHandle) -> None:
        """Let each beat say how much memory the brain's process takes."""
        while True:
            self._connection.beat["memory_bytes"] = await asyncio.to_thread(handle.memory_bytes)
            await asyncio.sleep(_MEMORY_EVERY_S)
