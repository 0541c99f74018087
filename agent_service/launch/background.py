"""A service on a background thread of this process: in a notebook, in the demo, in a test."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from agent_service.errors import ServiceError
from agent_service.executors.event_loops import new_event_loop
from agent_service.launch.uvicorn_server import (
    CalledOffError,
    address,
    announce,
    bind,
    listening,
    opened,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from agent_service.launch.uvicorn_server import Server
    from agent_service.service.config import ServiceConfig
    from agent_service.service.service import Service

T = TypeVar("T")

START_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 10.0
"""How long a stop may take beyond the configuration's grace."""

_log = logging.getLogger(__name__)


class BackgroundServer:
    """A service on a daemon thread with its own event loop.

    ``engine`` is a RunEngine of this process as the source of documents. ``headless`` says that this process belongs to
    the service alone, and not to a notebook or script whose objects its agents may share.

    Examples
    --------
    >>> import tempfile
    >>> from agent_service.service.config import ServiceConfig
    >>> section = {"port": 0, "catalog": "none", "state": tempfile.mkdtemp()}
    >>> with BackgroundServer(ServiceConfig(service=section)) as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self, config: ServiceConfig, *, engine: Any = None, headless: bool = False) -> None:
        self._config = config
        self._headless = headless
        self._engine = engine
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Lock()
        self._listens = threading.Event()
        self._up = threading.Event()
        self._ordered = asyncio.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self.url = ""
        self.api_key = ""

    @property
    def service(self) -> Service | None:
        """The running service, once it is open."""
        return None if self._server is None else self._server.service

    def start(self) -> Self:
        """Call `listen` and `open`, and raise what they raise."""
        self.listen()
        self.open(self._config, engine=self._engine)
        return self

    def listen(self) -> Self:
        """Start the thread and listen; until `open`, answer only health. `UsageError` if the port is taken."""
        self._socket = bind(self._config)
        self.url = address(self._socket)
        self._thread = threading.Thread(target=self._main, name="agent-service", daemon=True)
        self._thread.start()
        self._wait(self._listens)
        return self

    def open(self, config: ServiceConfig, *, engine: Any = None) -> None:
        """Start the service and let requests through to it; return when it answers.

        Raises `UsageError`, and stops listening, if the state directory or configuration is wrong.
        """
        self._config, self._engine = config, engine
        assert self._loop is not None  # noqa: S101 - listen() was called
        self._loop.call_soon_threadsafe(self._ordered.set)
        self._wait(self._up)

    def tell(self, doing: str | None) -> None:
        """Say why it is not ready, open or not; None: it is. From any thread."""
        if self._server is not None:
            self._server.starting.reason = doing or "starting"
            self._server.starting.holds = doing is not None

    def _wait(self, event: threading.Event) -> None:
        try:
            there = event.wait(START_WITHIN_S)
        except BaseException:  # an interrupt
            self.close()
            raise
        if not there:
            self.close()
            raise ServiceError(f"the service did not start within {START_WITHIN_S:g} s; its log says more")
        if self._error is not None:
            if self._thread is not None:
                self._thread.join(STOP_WITHIN_S)
            if self._socket is not None:
                self._socket.close()
            if isinstance(self._error, CalledOffError):
                raise ServiceError("the service was closed while it started")
            raise self._error

    def call(self, ask: Callable[[Service], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a coroutine of the service on its event loop, once it is open; from any other thread."""
        assert self._loop is not None  # noqa: S101 - it is open
        assert self.service is not None  # noqa: S101
        return asyncio.run_coroutine_threadsafe(ask(self.service), self._loop)

    def close(self) -> None:
        """Stop the service and wait for its thread; a second call only waits for the first."""
        with self._closing:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self.end()
            within_s = self._config.service.grace_s + STOP_WITHIN_S
            thread.join(within_s)
            if self._socket is not None:
                self._socket.close()
            if thread.is_alive():
                _log.error("the service did not stop within %g s", within_s)

    def end(self) -> None:
        """Tell it to end, and return at once; the second time, to end without waiting. From any thread."""
        if self._loop is not None and self._server is not None:
            with contextlib.suppress(RuntimeError):  # the loop ended by itself
                self._loop.call_soon_threadsafe(self._server.end)

    def _main(self) -> None:
        loop = new_event_loop()
        try:
            loop.run_until_complete(self._serve(loop))
        except BaseException as error:  # noqa: BLE001 - handed to the caller of start(), or logged
            if self._up.is_set():
                _log.exception("the service ended with an error")
            self._error = error
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            self._listens.set()
            self._up.set()

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._socket is not None  # noqa: S101 - start() bound it
        async with listening(self._socket, self._config) as server:
            self._loop, self._server = loop, server
            self._listens.set()
            ordered = asyncio.ensure_future(self._ordered.wait())
            await asyncio.wait({ordered, server.serving}, return_when=asyncio.FIRST_COMPLETED)
            if ordered.cancel():  # closed before it was opened
                return
            async with opened(server, self._config, engine=self._engine, headless=self._headless) as service:
                self.api_key = service.access.owner_key
                announce(service, self._socket)
                self._up.set()
                await server.serving

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
