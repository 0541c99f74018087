"""The service's side of the cluster: a client, seats for agents, and workers that do not answer."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import re
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable, InvalidInput, ServiceError, texts
from agent_service.executors.dask._connection import SESSION
from agent_service.executors.dask._versions import PACKAGE, here_of
from agent_service.executors.dask.config import LOCAL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Mapping

    from agent_service.executors.dask.config import DaskSection

CONNECT_WITHIN_S: Final = 5.0
ANSWER_WITHIN_S: Final = 5.0
_LOOK_EVERY_S: Final = 1.0
"""How often it is looked at what a seat waits for."""
_PATIENCE_S: Final = 5.0
"""How long who does not want to wait waits for a seat."""
_HEARD_EVERY_S: Final = 5.0
"""Within which the scheduler hears of a worker that is well, in a cluster of a thousand too."""
_ASKED_ANEW_S: Final = 15.0
"""How long a seat waits at one worker: Dask moves no task that waits for resources there; at once when there is room at
another."""
_TAKEN_WITHIN_S: Final = 30.0
_AVOIDED_S: Final = 300.0
"""How long a worker that did not answer gets no agent: the scheduler needs as long to give it up (worker-ttl)."""
_IN_VAIN_S: Final = 3.0
"""How long nobody tries again after a cluster could not be reached: many agents may wait for it."""
_LOCAL_WORKERS: Final = 2
_SEAT: Final = re.compile(r"\Aagent-.*-[0-9a-f]{32}((?:\+.*)?)\Z", re.DOTALL)
"""The key of a seat, of any service, and what the seat takes."""


class Seat:
    """A seat on a worker that is held for an agent; belongs to the event loop."""

    def __init__(self, worker: str, token: str, future: Any) -> None:
        self.worker = worker
        self.token = token
        self._future = future

    def release(self) -> None:
        """Let the scheduler forget it; else it would be given to another worker when this one is lost."""
        self._future.release()


class _Avoided:
    """A worker that did not answer: until when it is avoided, and when the scheduler had last heard of it."""

    def __init__(self, until: float) -> None:
        self.until = until
        self._last_seen: float | None = None

    def is_back(self, last_seen: float) -> bool:
        """Return whether the scheduler has heard of it since this was asked first."""
        if self._last_seen is None:
            self._last_seen = last_seen
        return last_seen != self._last_seen


class Cluster:
    """Connects to a scheduler and finds seats; belongs to one event loop."""

    def __init__(self, section: DaskSection) -> None:
        self._section = section
        self._client: Any = None
        self._local: Any = None
        self._connecting = asyncio.Lock()
        self._topic = f"agent-service-{uuid.uuid4()}"
        self._placed: dict[str, asyncio.Future[str]] = {}
        self._avoided: dict[str, _Avoided] = {}
        self._in_vain: tuple[float, str] | None = None  # when it could not be reached last, and why

    def __str__(self) -> str:
        return f"the Dask cluster {self._section.address}"

    def without(self, lacking: str) -> str:
        """Return that no worker offers resources, and what to do about it."""
        if self._section.address == LOCAL:
            return (
                f'no worker that the service starts (address = "local") offers {lacking}; leave resources out to try it'
            )
        return f"no worker of {self} offers {lacking}; start one with --resources"

    async def seat(
        self,
        name: str,
        resources: Mapping[str, float],
        *,
        refused: Mapping[str, ServiceError],
        on_wait: Callable[[str | None], None] | None = None,
    ) -> Seat:
        """Return a seat for an agent that takes ``resources``, on none of the workers ``refused``, when there is one.

        ``on_wait`` is called with what it waits for, again and again; without it `BackendUnavailable` is raised when
        there is no seat soon. Raises what a worker was refused for when there is no other.
        """
        while True:
            try:
                return await self._find_seat(name, resources, refused, on_wait)
            except BackendUnavailable as error:
                if on_wait is None:
                    raise
                on_wait(error.detail)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def connect(self, seat: Seat, opening: Mapping[str, Any]) -> Any:
        """Return a comm to the worker of a seat, for a session there; `BackendUnavailable` when it does not answer."""
        client = await self._connected()
        core: Any = importlib.import_module("distributed.comm.core")  # by now it is there
        comm: Any = None
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                comm = await core.connect(seat.worker, timeout=CONNECT_WITHIN_S, **client.connection_args)
            async with asyncio.timeout(self._section.lost_after_s):  # it holds what makes the brain, which may be large
                await comm.write({"op": SESSION, "reply": False, "seat": seat.token, **opening})
        except BaseException as error:
            if comm is not None:
                comm.abort()
            if not isinstance(error, (OSError, TimeoutError)):
                raise
            self.avoid(seat.worker)
            raise BackendUnavailable(f"the worker {seat.worker} cannot be reached: {texts.describe(error)}") from error
        return comm

    def avoid(self, worker: str) -> None:
        """Give no agent to a worker that does not answer, for a while, unless it is back and there is no other."""
        self._avoided[worker] = _Avoided(asyncio.get_running_loop().time() + _AVOIDED_S)

    async def workers(self) -> dict[str, Any]:
        """Return what the scheduler knows of its workers, by address; raises `BackendUnavailable`."""
        async with self._asking() as client:
            # `Client.scheduler_info` is a copy, of five workers at most
            return dict((await client.scheduler.identity(n_workers=-1))["workers"])

    async def versions(self) -> Mapping[str, Any]:
        """Return what the workers are made of, as ``Client.get_versions``; raises `BackendUnavailable`."""
        async with self._asking() as client:
            return (await client.get_versions(packages=[PACKAGE]))["workers"]

    async def close(self) -> None:
        """Let go of the cluster, and end one of our own. Harmless the second time."""
        client, self._client = self._client, None
        local, self._local = self._local, None
        for opened in (client, local):
            if opened is not None:
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(2 * ANSWER_WITHIN_S):
                        await opened.close()

    # the client ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncGenerator[Any]:
        """Give the client, for something that the scheduler answers at once; `BackendUnavailable` when it does not."""
        client = await self._connected()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                yield client
        except TimeoutError:
            raise BackendUnavailable(f"{self} does not answer") from None
        except ServiceError:
            raise
        except Exception as error:  # a client that is just lost raises whatever it likes
            raise BackendUnavailable(f"{self} was lost: {texts.describe(error)}") from error

    async def _connected(self) -> Any:
        """Return a client that is connected; one that lost its scheduler is not mended, but made anew.

        Raises `BackendUnavailable`, at once when somebody else just tried in vain.
        """
        since = asyncio.get_running_loop().time() - _IN_VAIN_S
        async with self._connecting:
            if self._in_vain is not None and self._in_vain[0] > since:
                raise BackendUnavailable(self._in_vain[1])
            if self._client is not None and self._client.status != "running":
                client, self._client = self._client, None
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(ANSWER_WITHIN_S):
                        await client.close()
            if self._client is None:
                try:
                    self._client = await self._connect()
                except (OSError, TimeoutError, ValueError, RuntimeError) as error:  # ValueError: of its certificates
                    why = f"{self} cannot be reached: {texts.describe(error)}{self._hint(error)}"
                    self._in_vain = asyncio.get_running_loop().time(), why
                    raise BackendUnavailable(why) from error
            return self._client

    def _hint(self, error: BaseException) -> str:
        """Return what to look at, where certificates are what is wrong."""
        if self._section.address.startswith("tls://"):
            of_tls = re.search("TLS|SSL", texts.describe(error)) is not None
            return "; look whether tls_ca_file, tls_cert and tls_key are those of its scheduler" if of_tls else ""
        return "; if it has certificates, its address begins with tls://" if "Closed" in type(error).__name__ else ""

    async def _connect(self) -> Any:
        distributed: Any = await asyncio.to_thread(importlib.import_module, "distributed")
        section = self._section
        security: Any = None
        if section.address == LOCAL and self._local is None:
            size = {"n_workers": _LOCAL_WORKERS, "threads_per_worker": 1}
            self._local = await distributed.LocalCluster(**size, asynchronous=True, dashboard_address="127.0.0.1:0")
        if section.address.startswith("tls://"):
            security = distributed.Security(
                tls_ca_file=str(section.tls_ca_file),
                tls_client_cert=str(section.tls_cert),
                tls_client_key=str(section.tls_key),
                require_encryption=True,
            )
        about = {"security": security, "asynchronous": True, "set_as_default": False, "name": "agent-service"}
        client: Any = distributed.Client(self._local or section.address, timeout=CONNECT_WITHIN_S, **about)
        try:
            async with asyncio.timeout(2 * CONNECT_WITHIN_S):
                return await client
        except BaseException:
            with contextlib.suppress(Exception):
                await client.close()
            raise

    # seats --------------------------------------------------------------------------------------------------------

    async def _find_seat(
        self,
        name: str,
        resources: Mapping[str, float],
        refused: Mapping[str, ServiceError],
        on_wait: Callable[[str | None], None] | None,
    ) -> Seat:
        """Ask for a seat once, and wait for it while that makes sense; else raise `BackendUnavailable`."""
        workers = await self.workers()
        allowed = self._allowed(workers, refused)
        # Dask looks at what a worker offers, not at what of it is free
        roomy = workers_with_room(workers, await self._processing(), resources, allowed) if resources else []
        on_worker: Any = await asyncio.to_thread(importlib.import_module, "agent_service.executors.dask._worker")
        token = uuid.uuid4().hex
        key = f"agent-{name}-{token}" + "".join(f"+{what}={amount:g}" for what, amount in resources.items())
        placed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        where = {"workers": roomy or allowed, "resources": dict(resources) or None}
        async with self._asking() as client:
            client.subscribe_topic(self._topic, self._note_placed)  # again: the scheduler may be another one by now
            args = (key, token, self._topic, _TAKEN_WITHIN_S)
            future = client.submit(on_worker.seat, *args, key=key, pure=False, **where)
        self._placed[token] = placed
        try:
            worker = await self._placing(future, placed, allowed, (resources, refused, on_wait))
        except BaseException:
            future.release()
            raise
        finally:
            del self._placed[token]
        return Seat(worker, token, future)

    async def _placing(
        self,
        future: Any,
        placed: asyncio.Future[str],
        allowed: list[str] | None,
        wanted: tuple[Mapping[str, float], Mapping[str, ServiceError], Callable[[str | None], None] | None],
    ) -> str:
        """Return the worker that a seat is on, when it is; raise when another seat is to be asked for."""
        resources, refused, on_wait = wanted
        loop = asyncio.get_running_loop()
        began_at, given, given_at = loop.time(), (None, None), 0.0
        while not (await asyncio.wait({placed}, timeout=_LOOK_EVERY_S))[0]:
            if future.status == "error":
                raise _not_loaded(await future.exception())
            if future.status != "pending":
                raise BackendUnavailable(f"{self} was lost")
            processing = await self._processing()
            holder = next((worker for worker, keys in processing.items() if future.key in keys), None)
            workers = await self.workers()
            if given != (given := (holder, holder and workers.get(holder, {}).get("last_seen"))):
                given_at = loop.time()
            elif holder is not None and loop.time() - given_at > max(self._section.lost_after_s, _HEARD_EVERY_S):
                self.avoid(holder)
                raise BackendUnavailable(f"the worker {holder} does not answer")
            if self._allowed(workers, refused) != allowed:
                raise BackendUnavailable(f"{self} has other workers by now")
            why = self._why_not_placed(workers, resources, holder)
            others = [key for key in processing.get(holder or "", ()) if key != future.key]
            stuck = bool(resources) and holder in workers and not has_room(workers[holder], others, resources)
            elsewhere = stuck and workers_with_room(workers, processing, resources, allowed)
            if holder is not None and (elsewhere or loop.time() - began_at > _ASKED_ANEW_S):
                raise BackendUnavailable(why)
            if on_wait is not None:
                on_wait(why)
            elif loop.time() - began_at > _PATIENCE_S:
                raise BackendUnavailable(why)
        return placed.result()

    async def _processing(self) -> Mapping[str, Collection[str]]:
        """Return the tasks, seats too, that each worker has or waits to begin."""
        async with self._asking() as client:
            return await client.scheduler.processing(workers=None)

    def _allowed(self, workers: Mapping[str, Any], refused: Mapping[str, ServiceError]) -> list[str] | None:
        """Return the workers that may get an agent, None for any; raise when there are some, and none of them may."""
        now = asyncio.get_running_loop().time()
        self._avoided = {worker: avoided for worker, avoided in self._avoided.items() if now < avoided.until}
        if not workers.keys() & {*refused, *self._avoided}:
            return None
        fit = [worker for worker in workers if worker not in refused]
        if not fit:
            raise next(iter(refused.values()))
        back = [
            worker
            for worker in fit
            if worker in self._avoided and self._avoided[worker].is_back(workers[worker]["last_seen"])
        ]
        answering = [worker for worker in fit if worker not in self._avoided] or back
        if not answering:
            raise BackendUnavailable(f"no worker of {self} answers")
        return sorted(answering)

    def _why_not_placed(self, workers: Mapping[str, Any], resources: Mapping[str, float], holder: str | None) -> str:
        if not workers:
            return f"{self} has no worker"
        if lacking := lacking_resources(workers, resources):
            return self.without(lacking)
        if resources:
            asked = ", ".join(f"{name} = {amount:g}" for name, amount in resources.items())
            return f"no worker of {self} has {asked} free"
        return f"{self} has no room yet" if holder is None else f"the worker {holder} of {self} has not begun yet"

    def _note_placed(self, event: tuple[float, Mapping[str, str]]) -> None:
        placed = self._placed.get(event[1]["seat"])
        if placed is not None and not placed.done():
            placed.set_result(event[1]["worker"])


def lacking_resources(workers: Mapping[str, Any], resources: Mapping[str, float]) -> str:
    """Return which resources no single worker offers, nothing when one does.

    Examples
    --------
    >>> lacking_resources({"tcp://10.0.0.7:4711": {"resources": {"GPU": 1}}}, {"GPU": 2})
    'GPU = 2'
    """
    offered: list[Mapping[str, float]] = [worker["resources"] for worker in workers.values()]
    if any(all(has.get(name, 0) >= amount for name, amount in resources.items()) for has in offered):
        return ""
    return ", ".join(f"{name} = {amount:g}" for name, amount in resources.items())


def has_room(worker: Mapping[str, Any], keys: Collection[str], resources: Mapping[str, float]) -> bool:
    """Return whether a worker has so much free beside the seats that it has, or waits to begin.

    Examples
    --------
    >>> seats = [f"agent-{name}-{name * 32}+GPU=1" for name in "abc"]
    >>> has_room({"resources": {"GPU": 4}}, seats, {"GPU": 1}), has_room({"resources": {"GPU": 4}}, seats, {"GPU": 2})
    (True, False)
    """
    taken: defaultdict[str, float] = defaultdict(float)
    for key in keys:
        if seat := _SEAT.search(key):
            for part in seat[1].split("+")[1:]:
                what, _, amount = part.rpartition("=")
                taken[what] += float(amount)
    return all(worker["resources"].get(name, 0) - taken[name] >= amount for name, amount in resources.items())


def workers_with_room(
    workers: Mapping[str, Any],
    processing: Mapping[str, Collection[str]],
    resources: Mapping[str, float],
    allowed: Collection[str] | None,
) -> list[str]:
    """Return the workers that have the resources free; only those with nothing to do, if there are any.

    Examples
    --------
    >>> two = {"a": {"resources": {"GPU": 4}}, "b": {"resources": {"GPU": 1}}, "c": {"resources": {}}}
    >>> seat = f"agent-x-{'0' * 32}+GPU=1"
    >>> workers_with_room(two, {"a": [seat]}, {"GPU": 1}, None)
    ['b']
    >>> workers_with_room(two, {"a": [seat], "b": [seat]}, {"GPU": 1}, None)
    ['a']
    """
    able = [
        name
        for name, about in sorted(workers.items())
        if (allowed is None or name in allowed) and has_room(about, processing.get(name, ()), resources)
    ]
    return [name for name in able if not processing.get(name)] or able


def _not_loaded(error: BaseException) -> ServiceError:
    """Return the error of a worker that could not load a seat."""
    why = texts.describe(error)
    if isinstance(error, ModuleNotFoundError):
        return InvalidInput(f"a worker has no {PACKAGE} ({why}; {here_of('agent_service')}); install it there")
    return BackendUnavailable(f"a worker could not make room for the agent: {why}")
