"""What handles on hosted objects share: one call at a time, in order, each with a deadline; and what counts as a fault.

Whatever an executor meets is an `AgentFault`: what the agent's code raised (`fault`), and what befell the executor
itself on the way (`as_faults`): a broken connection, no descriptor left, no thread, no process.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, cast

from agent_service.errors import AgentFault, BackendUnavailable, DeadlineExceeded, ServiceError, texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Handle:
    """A handle on an object that lives somewhere else; belongs to one event loop. See `protocols.BrainHandle`."""

    def __init__(self, name: str, *, on_call: Callable[[str, float], None] | None = None) -> None:
        self._name = name
        self._on_call = on_call
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._busy: tuple[str, datetime] | None = None
        self._present: asyncio.Future[Any] | None = None
        self._dead: AgentFault | None = None
        self.died: asyncio.Future[AgentFault] = self._loop.create_future()

    @property
    def busy(self) -> tuple[str, datetime] | None:
        """The call it is in and since when, or None."""
        return self._busy

    async def call(self, method: Callable[[Any, *Ts], R], *args: *Ts, timeout_s: float) -> R:
        """Call a method of the object, when its turn comes. See `protocols.BrainHandle`."""
        name, began = method.__name__, time.perf_counter()
        try:
            return cast("R", await self._do(name, lambda present: self._begin(present, name, args), timeout_s))
        finally:
            if self._on_call is not None:
                self._on_call(name, time.perf_counter() - began)

    def memory_bytes(self) -> int | None:
        """Return None: it has no process of its own. See `protocols.BrainHandle`."""
        return None

    async def close(self) -> None:
        """Discard the object; a call under way raises `AgentFault` at its caller. Returns at once."""
        self._end(AgentFault(f"agent {self._name!r} was stopped during the call"))

    async def _do(
        self, method: str, begin: Callable[[asyncio.Future[Any]], Awaitable[None] | None], timeout_s: float | None
    ) -> Any:
        """Begin a call when its turn comes, and return what its future gets.

        An error that is not the agent's own (its process ended, the connection broke, no descriptor is left) is the end
        of the handle: nobody knows what became of the call.
        """
        async with self._turn:
            if self._dead is not None:
                dead = self._dead
                raise AgentFault(dead.detail, traceback=dead.traceback, died=dead.died, place_lost=dead.place_lost)
            self._busy = (method, datetime.now(UTC))
            self._present = self._loop.create_future()
            try:
                with as_faults(self._name):
                    return await self._within(timeout_s, method, begin, self._present)
            except asyncio.CancelledError:
                self._abandon(method)
                raise
            except AgentFault as error:
                if error.died:
                    self._lose(error)
                raise
            finally:
                self._busy = None
                self._present = None

    async def _within(
        self,
        timeout_s: float | None,
        method: str,
        begin: Callable[[asyncio.Future[Any]], Awaitable[None] | None],
        present: asyncio.Future[Any],
    ) -> Any:
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                if (beginning := begin(present)) is not None:
                    await beginning
                return await present
        except TimeoutError:
            if not deadline.expired():  # the system's: a connection timed out
                raise
            left_behind = self._left_behind()
            self._abandon(method)
            raise DeadlineExceeded(
                f"agent {self._name!r} did not end {method} within {timeout_s:g} s; it was abandoned: restart it, "
                f"or allow more in timeouts{left_behind}"
            ) from None

    def _abandon(self, method: str) -> None:
        self._end(AgentFault(f"agent {self._name!r} was abandoned in {method}; restart it"))

    def _lose(self, why: AgentFault) -> None:
        """Be dead because what hosts the object is lost; tell who waits for that."""
        self._end(why)
        if not self.died.done():
            self.died.set_result(why)

    def _end(self, why: AgentFault) -> None:
        """Be dead from here on: the call under way, if any, and all later ones raise ``why``."""
        if self._dead is None:
            self._dead = why
            self._discard()
        if self._present is not None and not self._present.done():
            self._present.set_exception(self._dead)
            self._present.exception()  # nobody may be waiting any more

    def _begin(self, present: asyncio.Future[Any], method: str, args: tuple[object, ...]) -> Awaitable[None] | None:
        """Send a call to where the object lives; ``present`` gets its result. Return what is left to be awaited."""
        raise NotImplementedError

    def _left_behind(self) -> str:
        """Return what to say of what goes on after the call under way is abandoned."""
        return ""

    def _discard(self) -> None:
        """Let go of the object, whatever it is doing; called once."""
        raise NotImplementedError


@contextlib.contextmanager
def as_faults(name: str) -> Generator[None]:
    """Turn any other error into `AgentFault`, which counts as ``died``: nothing is there to host the agent in."""
    try:
        yield
    except BackendUnavailable as error:
        raise AgentFault(f"agent {name!r} could not be hosted: {error.detail}", died=True) from error
    except ServiceError:
        raise
    except Exception as error:  # whatever the system raises
        raise AgentFault(f"the service lost agent {name!r}: {texts.describe(error)}", died=True) from error


def fault(error: BaseException) -> AgentFault:
    """Turn what an agent raised into an `AgentFault` with its traceback, without the executor's own frames."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("agent_service.executors"):
        frames = frames.tb_next
    try:
        line = texts.describe(error)
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception as second:  # noqa: BLE001 - even its message may raise
        line = f"{type(error).__name__}: and its message could not be made ({type(second).__name__})"
        text = ""
    result = AgentFault(line, traceback=text)
    result.__cause__ = error
    return result
