"""Coroutines of an agent's code, awaited where the agent lives: in its own thread, on one event loop of its own.

The loop is made when the code first gives something to await, lives as long as the agent, and runs between calls too:
clients, sessions and tasks that a call opens are there for the next one. Ordinary calls are made while it does not run,
so that code which calls ``asyncio.run`` itself works as ever.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

ENDS_WITHIN_S: Final = 2.0
"""How long tasks of an agent may take to end when it ends."""

_log = logging.getLogger(__name__)


class Coroutines:
    """The event loop of one agent. All in the agent's thread, but for `wake` and `give_up`, which are for others."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._present: asyncio.Task[Any] | None = None
        self._woken: asyncio.Future[None] | None = None
        self._given_up = False

    @contextlib.contextmanager
    def serving(self) -> Generator[None]:
        """Let `awaited` use this loop, in this thread; close the loop at the end."""
        token = _serving.set(self)
        try:
            yield
        finally:
            _serving.reset(token)
            self._close()

    @property
    def under_way(self) -> bool:
        """Whether something is awaited now."""
        return self._present is not None

    def run(self, awaitable: Any) -> Any:
        """Wait for something and return what it gives."""
        loop = self._opened()
        with self._lock:
            if self._given_up:
                if inspect.iscoroutine(awaitable):
                    awaitable.close()
                raise asyncio.CancelledError
            task = self._present = loop.create_task(_outcome(awaitable))
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError as error:
            if self._given_up:
                raise
            raise RuntimeError("it was cancelled by the agent's own code") from error
        except BaseException:
            task.cancel()  # where another task raised SystemExit, it is not done yet
            raise
        finally:
            with self._lock:
                self._present = None

    def rest(self, until: Callable[[], bool]) -> bool:
        """Let tasks of the agent go on until somebody calls `wake`; return False at once when there is no loop.

        ``until`` says whether there is something to do already; it is asked once it is certain that a `wake` is heard.
        """
        if self._loop is None:
            return False
        woken = self._woken = self._loop.create_future()
        if not until():
            self._go_on(woken)
        self._woken = None
        return True

    def rest_until_readable(self, descriptor: int) -> None:
        """Let tasks of the agent go on until something can be read; return at once when there is no loop."""
        if self._loop is None:
            return
        woken = self._loop.create_future()
        self._loop.add_reader(descriptor, _settle, woken)
        try:
            self._go_on(woken)
        finally:
            self._loop.remove_reader(descriptor)

    def wake(self) -> None:
        """End a `rest`. From any thread."""
        self._tell(lambda: _settle(self._woken))

    def give_up(self) -> None:
        """Cancel what is awaited now, and whatever would be from here on. From any thread."""
        with self._lock:
            self._given_up = True
            if (task := self._present) is not None:
                self._tell(task.cancel)

    def _tell(self, what: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(what)

    def _opened(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)  # for code between its coroutines that asks for it
        return self._loop

    def _go_on(self, woken: asyncio.Future[None]) -> None:
        assert self._loop is not None  # noqa: S101 - only called when there is one
        while not woken.done():
            try:
                self._loop.run_until_complete(woken)
            except BaseException:  # noqa: BLE001 - a task's SystemExit, which no event loop keeps to itself
                _log.exception("a task that an agent left running between its calls ended the wait for the next")

    def _close(self) -> None:
        loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            if tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(tasks, timeout=ENDS_WITHIN_S))
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException:  # noqa: BLE001 - whatever its tasks raise when they are told to end
            _log.exception("tasks of an agent did not end as they should")
        finally:
            asyncio.set_event_loop(None)
            loop.close()


_serving: ContextVar[Coroutines | None] = ContextVar("agent_service_coroutines", default=None)


def awaited(value: Any) -> Any:
    """Return ``value``, or what it gives when it is a coroutine or anything else that can be awaited.

    It is waited for here, in the thread that the agent lives in, on the agent's own event loop.
    """
    if not inspect.isawaitable(value) and not isinstance(value, concurrent.futures.Future):
        return value
    host = _serving.get()
    if host is not None:
        return host.run(value)
    own = Coroutines()  # not hosted: somebody calls it as it is
    with own.serving():
        return own.run(value)


def called(function: Callable[..., Any], *args: Any, of: str) -> Any:
    """Call a function of an agent and return what it gives, awaited; ``of`` is what people call the function.

    Raises `TypeError` when it is a generator function, of which nothing has run when it returns.
    """
    result = awaited(function(*args))
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError(f"{of} has a yield in it, so calling it does nothing; let it return a list instead")
    return result


async def _outcome(awaitable: Any) -> Any:
    if isinstance(awaitable, concurrent.futures.Future):
        return await asyncio.wrap_future(awaitable)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return await awaitable


def _settle(woken: asyncio.Future[None] | None) -> None:
    if woken is not None and not woken.done():
        woken.set_result(None)
