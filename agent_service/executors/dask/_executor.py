"""The executor for a Dask cluster, as the service sees it. See the package."""

from __future__ import annotations

import asyncio
import importlib.util
import pickle
import re
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import AgentFault, BackendUnavailable, ServiceError
from agent_service.executors.dask._cluster import Cluster
from agent_service.executors.dask._connection import Connection
from agent_service.executors.dask._versions import here_of, versions
from agent_service.executors.pickling import pickled
from agent_service.executors.process import unpacked_error
from agent_service.executors.remote_handle import RemoteHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.executors.dask._cluster import Seat
    from agent_service.executors.dask.config import DaskSection
    from agent_service.protocols import Notice

_GRACE_S: Final = 5.0
"""How much later than the worker the service notices that a brain is not built in time."""

_NO_MODULE: Final = re.compile(r"No module named '([\w.]+)'")


class DaskExecutor:
    """Hosts brains on the workers of a cluster; belongs to one event loop. Without a section it hosts none."""

    isolated = True
    needs_pickle = True

    def __init__(self, section: DaskSection | None, *, on_call: Callable[[str, float], None] | None = None) -> None:
        self._section = section
        self._on_call = on_call
        self._cluster: Cluster | None = None
        self._handles: set[DaskHandle] = set()

    def why_not(self) -> str | None:
        """Return why there is no cluster, None where one is configured; whether it answers is another question."""
        if self._section is None:
            return "there is no [executors.dask] in the configuration; add it, with the address of a scheduler"
        if importlib.util.find_spec("distributed") is None:
            return 'distributed is not installed with the service: pip install "bluesky-agent-service[dask]"'
        return None

    async def start(  # noqa: PLR0913 - see `protocols.Executor`
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
    ) -> DaskHandle:
        """Build the object on a worker and return a handle on it. See `protocols.Executor`."""
        why = self.why_not()
        if self._section is None or why is not None:
            raise BackendUnavailable(why or "")
        cluster = self._cluster = self._cluster or Cluster(self._section)
        opening = {
            "name": name,
            "build": await asyncio.to_thread(pickled, build),
            "timeout_s": timeout_s,
            "memory_limit_mb": memory_limit_mb,
            "libraries": list(libraries),
            "versions": versions(),
            "lost_after_s": self._section.lost_after_s,
        }
        refused: dict[str, ServiceError] = {}
        try:
            while True:
                seat = await cluster.seat(name, resources or {}, refused=refused, on_wait=on_wait)
                handle = self._new_handle(name, cluster, seat, on_notice)
                try:
                    comm = await cluster.connect(seat, opening)
                    await handle.build(comm, lost_after_s=self._section.lost_after_s, timeout_s=timeout_s + _GRACE_S)
                except BackendUnavailable as error:
                    await handle.close()
                    if on_wait is None:
                        raise
                    on_wait(error.detail)
                except ServiceError as error:
                    if not handle.refused:
                        raise _with_module(error, seat.worker) from error
                    refused[seat.worker] = error
                except BaseException:
                    await handle.close()
                    raise
                else:
                    return handle
        finally:
            if on_wait is not None:
                on_wait(None)

    async def close(self) -> None:
        """End all brains, and let go of the cluster. Harmless the second time."""
        for handle in list(self._handles):
            await handle.close()
        if self._cluster is not None:
            await self._cluster.close()

    def _new_handle(
        self, name: str, cluster: Cluster, seat: Seat, on_notice: Callable[[Notice], None] | None
    ) -> DaskHandle:
        handle = DaskHandle(name, seat, on_notice=on_notice, on_call=self._on_call)
        self._handles.add(handle)
        handle.on_end = lambda: self._handles.discard(handle)
        handle.on_worker_lost = cluster.avoid
        return handle


class DaskHandle(RemoteHandle):
    """A handle on an object in a process of a worker; belongs to one event loop."""

    def __init__(
        self,
        name: str,
        seat: Seat,
        *,
        on_notice: Callable[[Notice], None] | None = None,
        on_call: Callable[[str, float], None] | None = None,
    ) -> None:
        super().__init__(name, on_call=on_call)
        self.worker = seat.worker
        self.refused = False  # whether the worker does not fit
        self.on_end: Callable[[], object] = lambda: None
        self.on_worker_lost: Callable[[str], object] = lambda worker: None
        self._seat = seat
        self._on_notice = on_notice
        self._connection: Connection | None = None
        self._memory_bytes: int | None = None

    def memory_bytes(self) -> int | None:
        """Return what the worker last said of it. See `protocols.BrainHandle`."""
        return self._memory_bytes

    async def build(self, comm: Any, *, lost_after_s: float, timeout_s: float) -> None:
        """Wait until the object is made, over a comm on which that was asked for; a failure ends the session."""

        def begin(_: object) -> None:
            self._connection = Connection(
                comm, lost_after_s=lost_after_s, on_message=self._take, on_lost=self._lose_worker
            )

        try:
            await self._do("start", begin, timeout_s)
        except ServiceError:
            await self.close()
            raise

    def _send_call(self, payload: bytes) -> None:
        if self._connection is not None:
            self._connection.send(kind="call", payload=payload)

    def _take(self, message: Mapping[str, Any]) -> None:
        """Take what the worker says; may raise anything where it is nonsense."""
        kind = message["kind"]
        if kind == "beat":
            self._memory_bytes = message.get("memory_bytes", self._memory_bytes)
        elif kind == "notice":
            if self._on_notice is not None and self._dead is None:
                self._on_notice(pickle.loads(message["payload"]))  # noqa: S301 - of a worker, which may do what we may
        elif kind == "died":
            died = unpacked_error(message["payload"])
            self._lose(died if isinstance(died, AgentFault) else AgentFault(died.detail, died=True))
        elif self._present is None or self._present.done():
            return
        elif kind == "result":
            self._take_result(self._present, message["payload"])
        else:
            self.refused = kind == "refused"
            self._present.set_exception(unpacked_error(message["payload"]))

    def _lose_worker(self, why: str) -> None:
        self.on_worker_lost(self.worker)
        self._lose(AgentFault(f"the worker {self.worker} of agent {self._name!r} {why}", place_lost=True))

    def _discard(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._seat.release()
        self.on_end()


def _with_module(error: ServiceError, worker: str) -> ServiceError:
    """Say of an error that names a missing module where it is missing, and which version the service has."""
    match = _NO_MODULE.search(error.detail)
    if match is None:
        return error
    detail = (
        f"{error.detail}: the worker {worker} has no module {match[1]!r} ({here_of(match[1])}); install it there. "
        "What is defined in a notebook travels by itself, modules do not"
    )
    if isinstance(error, AgentFault):
        return AgentFault(detail, traceback=error.traceback, died=error.died)
    return type(error)(detail, errors=error.errors, legal=error.legal)
