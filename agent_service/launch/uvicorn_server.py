"""uvicorn for a service: the bound socket, the server, and serving in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any, TypeVar

import uvicorn

from agent_service.errors import UsageError
from agent_service.executors.detached import run_detached
from agent_service.executors.event_loops import new_event_loop
from agent_service.launch.early_engine import early_engine
from agent_service.server.allowed_hosts import Hosts
from agent_service.server.connection import BoundedConnection
from agent_service.server.not_ready import StartingApp
from agent_service.service.keys import KeyFile
from agent_service.state_dir import StateDir, marked_starting, private_files

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

    from fastapi import FastAPI

    from agent_service.service.config import ServiceConfig
    from agent_service.service.service import Service

T = TypeVar("T")


class CalledOffError(Exception):
    """The start was ended before the service was ready."""


def run(config: ServiceConfig, *, on_ready: Callable[[str, str, bool], None]) -> None:
    """Serve in the foreground until Ctrl-C or SIGTERM, then stop cleanly.

    When the service answers, ``on_ready`` is called with URL, key, and whether the key is new. Raises `UsageError` if
    the port is taken, or the state directory or configuration is wrong.
    """
    with (
        bind(config) as bound,
        contextlib.suppress(CalledOffError),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        runner.run(_run(config, bound, on_ready))


async def _run(config: ServiceConfig, bound: socket.socket, on_ready: Callable[[str, str, bool], None]) -> None:
    loop = asyncio.get_running_loop()
    async with listening(bound, config) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.end)
        async with opened(server, config) as service:
            on_ready(announce(service, bound), service.access.owner_key, service.access.owner_key_is_new)
            await server.serving


@contextlib.asynccontextmanager
async def listening(bound: socket.socket, config: ServiceConfig) -> AsyncGenerator[Server]:
    """Listen without the application: /healthz answers, and any other request is told to try again."""
    server = Server(Hosts(config.security.allowed_hosts, config.security.cors_origins))
    server.serving = asyncio.ensure_future(server.serve(sockets=[bound]))
    up = asyncio.ensure_future(server.up.wait())
    try:
        await asyncio.wait({server.serving, up}, return_when=asyncio.FIRST_COMPLETED)
        yield server
    finally:
        up.cancel()
        await server.stop()


@contextlib.asynccontextmanager
async def opened(
    server: Server, config: ServiceConfig, *, engine: Any = None, headless: bool = True
) -> AsyncGenerator[Service]:
    """Start the service, and let requests through to it until it ends. See `create_app`.

    Raises `UsageError` if the state directory or the configuration is wrong, `CalledOffError` if the server was told
    to end meanwhile: what was started is ended.
    """
    async with contextlib.AsyncExitStack() as stack:
        marked = stack.enter_context(contextlib.ExitStack())
        if not config.service.require_state:  # a folder that is not there is refused, and not made
            marked.enter_context(marked_starting(StateDir(config.service.state)))
        early = early_engine(config, headless=headless)
        if early is not None:
            stack.callback(early.discard)
        with _spared_collections(headless=headless):
            imported = run_detached(lambda: _made(config, engine, headless=headless), name="importing the service")
            app = await _unless_told_to_end(server, imported)
            app.state.early_engine, app.state.say = early, server.starting.say
            await _unless_told_to_end(server, stack.enter_async_context(app.router.lifespan_context(app)))
        server.service = app.state.service
        server.starting.open(app)
        marked.close()
        yield app.state.service


@contextlib.contextmanager
def _spared_collections(*, headless: bool) -> Generator[None]:
    """Exclude what the start of a headless service makes from garbage collection: it stays.

    A full collection among all modules takes the event loop 80 ms.
    """
    if not headless:
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


async def _unless_told_to_end(server: Server, work: Coroutine[Any, Any, T]) -> T:
    """Await a part of the start; call it off when the server is told to end."""
    task, ending = asyncio.ensure_future(work), asyncio.ensure_future(server.told.wait())
    try:
        await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        raise CalledOffError
    return task.result()


def _made(config: ServiceConfig, engine: Any, *, headless: bool) -> FastAPI:
    from agent_service.server.app import create_app  # noqa: PLC0415 - a second of imports, while we listen already

    return create_app(config, engine=engine, headless=headless)


class Server(uvicorn.Server):
    """uvicorn that stops when we tell it: the caller handles signals, and open event streams end first.

    ``hosts`` are the service's host names, which are checked before the application is there.
    """

    serving: asyncio.Future[None]  # the task in which it serves

    def __init__(self, hosts: Hosts) -> None:
        self.starting = StartingApp(hosts)  # stands in for the service's application until that is there
        self.service: Service | None = None  # when it is there
        self.up = asyncio.Event()  # set when it listens
        self.told = asyncio.Event()  # set when it was told to end
        super().__init__(
            uvicorn.Config(
                self.starting,
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                http=BoundedConnection,
                ws="none",
                timeout_graceful_shutdown=1,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell."""
        await super().startup(sockets=sockets)
        self.up.set()

    async def stop(self) -> None:
        """End the server, if it has not ended; its event streams end at once."""
        if not self.told.is_set():
            self.end()
        await self.serving

    def end(self) -> None:
        """Tell the server to end, and return at once; the second time, its service ends without waiting."""
        if self.told.is_set() and self.service is not None:
            self.service.stop_at_once.set()
        self.told.set()
        self.starting.close()
        if self.service is not None:
            self.service.stopping.set()
        self.should_exit = True


def bind(config: ServiceConfig) -> socket.socket:
    """Bind the configured address; a taken port is a `UsageError` at once."""
    host, port = config.service.host, config.service.port
    if config.api_key is None and not _is_loopback(host):
        state = StateDir(config.service.state)
        if not KeyFile(state.keys_file).read().keys:
            raise UsageError(
                f"{host} can be reached from other machines, and there is no key but one made here; make one with "
                f"`agent-service keys create NAME --scopes read --state {state.path}`, set AGENT_SERVICE_API_KEY to "
                "one of your own, or listen on 127.0.0.1"
            )
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # with IPPROTO_TCP asyncio sets TCP_NODELAY; without it each answer waits 40 ms
        bound = socket.socket(family, kind, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        _refuse_in_use(config)
        why = error.strerror or str(error)
        raise UsageError(f"cannot listen on {host}:{port}: {why}; choose another with --port, or --port 0") from None
    bound.set_inheritable(False)
    return bound


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_in_use(config: ServiceConfig) -> None:
    """Raise the better reason if this same service holds the port: its state directory is in use."""
    state_dir = StateDir(config.service.state)
    if state_dir.path.exists():
        with state_dir:
            pass


def address(bound: socket.socket) -> str:
    """Return the URL of a bound socket."""
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def announce(service: Service, bound: socket.socket) -> str:
    """Write the service's address into its state directory, for the command line; return its URL."""
    url = address(bound)
    facts = {"url": url, "pid": os.getpid(), "session": service.status.session}
    private_files.write(service.state_dir.service_file, json.dumps(facts) + "\n")
    return url
