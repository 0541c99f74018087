"""A service for a notebook or a script: `serve` starts it on a thread of this process, and hosts its agents."""

from __future__ import annotations

import atexit
import html
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from agent_service.archive.catalog import open_catalog
from agent_service.client import Client
from agent_service.client.local_services import LocalAddress, closed, opened, services
from agent_service.documents.sources.run_engine import ReplaceableEngine
from agent_service.errors import Conflict, ServiceError, UsageError
from agent_service.launch import api_link
from agent_service.launch.background import BackgroundServer
from agent_service.launch.live_agents import HostResult, LiveAgents
from agent_service.launch.local_config import local_config
from agent_service.launch.process_service import current
from agent_service.launch.status_table import StatusTable
from agent_service.models import AgentSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future
    from pathlib import Path

    from agent_service.launch.process_service import ProcessService
    from agent_service.models import AgentStatus
    from agent_service.service.config import ServiceConfig
    from agent_service.service.service import Service

T = TypeVar("T")

_open: Final[list[LocalService]] = []

_hooked = False


def serve(  # noqa: PLR0913 - a person's one call; each has a default
    agents: Mapping[str, object] | None = None,
    *,
    RE: Any = None,  # noqa: N803 - as every Bluesky notebook calls it
    config: ServiceConfig | str | Path | None = None,
    startup: str | Sequence[str] | None = None,
    catalog: str | None = None,
    port: int | None = None,
    state: str | Path | None = None,
    md: Mapping[str, Any] | None = None,
    start: bool = False,
    fresh: bool = False,
    **fields: Any,
) -> LocalService:
    """Serve agents on a background thread of this process; return when the service answers.

    Without ``RE``, the service runs plans in its own RunEngine, on the devices of ``startup``. With ``RE``, it only
    listens to that: nothing moves until somebody calls ``RE(run_agent(name, devices=[...]))``.

    Parameters
    ----------
    agents
        Agents to host, by name: a brain, its class or factory, the name of an installed type, an `AgentSpec`, or a
        mapping of its fields. An agent that exists, from an earlier run of the cell or the notebook, is replaced; the
        new one ingests what it had measured.
    RE
        Your own RunEngine. The service subscribes to it, never calls it, and unsubscribes at the end.
    config
        A `ServiceConfig`, or the path of a service.toml; the other arguments override it.
    startup
        Modules, scripts or folders of scripts, one or several, that make devices and plans of the service's RunEngine.
    catalog
        ``embedded`` (the default), ``none``, the URI of a Tiled server's catalogue, or ``profile:NAME``, a Tiled
        profile; nothing waits for it.
    port
        By default that of ``config``, or a free one.
    state
        State directory; by default that of ``config``, else one per notebook or script: ``.agent-service/NAME`` in the
        working directory, or in the system's temporary directory if the former is on a network file system. A session
        without a name gets its own.
    md
        Metadata for every start document.
    start
        Whether to start the agents. Otherwise an agent waits, ``created``, or ``paused`` if it ingested what an earlier
        one had measured; `run_agent`, a button or the client start or resume it.
    fresh
        Whether to forget agents that are replaced, with what they had measured.
    **fields
        Fields of `AgentSpec` for each of ``agents`` that does not set them: ``actuators`` and ``sensors`` (names or
        devices), ``outcome``, ``evaluate`` (or a function), ``loop``, ... A brain may have ``actuators``, ``sensors``
        and ``outcome`` as attributes.

    Returns
    -------
    LocalService
        With ``.client``, ``.url`` and ``.close()``; a context manager.

    Raises
    ------
    UsageError
        The port is taken, the state directory is in use, or the configuration is wrong.
    InvalidInput, AgentFault
        An agent is wrong, or its brain could not be built; the service is closed then.

    Examples
    --------
    >>> import agent_service, tempfile
    >>> bayes = {"type": "bayes", "config": {"bounds": {"mirror_x": [-5, 5]}, "objective": "flux"}}
    >>> with agent_service.serve({"aligner": bayes}, catalog="none", state=tempfile.mkdtemp()) as service:
    ...     service.client.agent("aligner").state.value
    'created'
    """
    made = local_config(config, RE=RE, startup=startup, md=md, catalog=catalog, port=port, state=state)
    service = open_service(made, engine=RE)
    try:
        for name, thing in (agents or {}).items():
            service.host(name, thing, start=start, fresh=fresh, **fields)
    except BaseException:
        service.close()
        raise
    return service


def open_service(config: ServiceConfig, *, engine: Any = None) -> LocalService:
    """Start a service of this process, which listens to ``engine``; or return the headless one that runs already.

    Raises `UsageError` if it cannot be started, or if another service runs headless in this process.
    """
    process_service = current()
    if process_service is None:
        return LocalService(config, engine=engine)
    if process_service.local is None:
        process_service.local = LocalService(config, engine=engine, process_service=process_service)
    else:
        process_service.open(config, engine=engine)
    return cast("LocalService", process_service.local)


class LocalService:
    """A service on a background thread of this process, and its client. It ends with `close` or the interpreter.

    Attributes
    ----------
    url
        Its address.
    client
        A blocking client with its key.
    state
        The state directory.
    config
        The configuration.
    headless
        Whether it is the service of a headless process, which notebooks and scripts do not close.
    """

    def __init__(
        self, config: ServiceConfig, *, engine: Any = None, process_service: ProcessService | None = None
    ) -> None:
        self.headless = process_service is not None
        self.config = config if process_service is None else process_service.open(config, engine=engine)
        self.state = self.config.service.state.absolute()
        if any(address.state == self.state for address in services()):
            raise UsageError(
                f"a service of this process runs on {self.state} already; close it first (service.close()), or give "
                "another folder as state"
            )
        if process_service is None:
            self._engine = None if engine is None else ReplaceableEngine(engine)
            self._server = BackgroundServer(config, engine=self._engine).start()
        else:
            self._engine, self._server = process_service.engine, process_service.server
        self.url = self._server.url
        self.client = Client(self.url, api_key=self._server.api_key)
        self._host = LiveAgents(self.client)
        self._address = LocalAddress(self.url, self._server.api_key, self.state)
        self._closed = False
        opened(self._address)
        _close_at_exit(self)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def engine(self) -> Any:
        """The RunEngine that it listens to; None if it runs plans in its own."""
        return None if self._engine is None else self._engine.engine

    def listen_to(self, engine: Any) -> bool:
        """Listen to another RunEngine instead of the present one: a notebook has made a new one.

        Returns whether it is another; raises `Conflict` if the service runs plans in its own RunEngine.
        """
        if self._engine is None:
            raise Conflict(
                "this service runs plans in a RunEngine of its own; for yours, close it and serve again with RE"
            )
        return self._engine.replace(engine)

    def host(self, name: str, thing: object, *, start: bool = False, fresh: bool = False, **fields: Any) -> HostResult:
        """Host an object as an agent, and replace an agent of that name. See `serve`.

        Raises as `serve`, and `Conflict` if the run under way of the replaced agent does not end.
        """
        own = _own_fields(thing)
        return self._host.host(
            name,
            thing,
            start=start,
            fresh=fresh,
            stays=self.headless,
            fields={key: value for key, value in fields.items() if key not in own},
        )

    def call(self, ask: Callable[[Service], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a coroutine of the service on its event loop; call it from any other thread.

        Raises `UsageError` if the service is closed.
        """
        self._require_open()
        return self._server.call(ask)

    def catalog(self, *, path: str | None = None, within_s: float = 60.0) -> Any:
        """Open the catalogue, as `open_catalog` does, once it holds what was measured so far.

        Runs are written after the agents' loops, two or three a second; the embedded catalogue takes some seconds to
        start.

        Parameters
        ----------
        path
            Where in the catalogue to begin; ``"agents"`` opens the agents' decisions.
        within_s
            How long to wait, in seconds.

        Raises
        ------
        UsageError
            The service has no catalogue, or is closed.
        DeadlineExceeded, BackendUnavailable
            It was not ready in time.
        """
        archived = self.call(lambda service: service.archived(decisions=path is not None, within_s=within_s))
        try:
            archived.result()
        finally:
            archived.cancel()  # after an interrupt
        return open_catalog(self.state, path=path)

    def close(self) -> None:
        """Stop the service and wait for it; does nothing the second time, nor in a headless process."""
        if self._closed or self.headless:
            return
        self._closed = True
        _open.remove(self)
        closed(self._address)
        self.client.close()
        self._server.close()
        self._host.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            agents = self._agents()
        except ServiceError as error:
            return f"agent service at {self.url}: {error.detail}"
        states = ", ".join(f"{agent.name} {agent.state.value}" for agent in agents)
        return f"agent service at {self.url}: {states or 'no agents yet'}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._html()}

    def _require_open(self) -> None:
        if self._closed:
            raise UsageError("closed; serve again")

    def _agents(self) -> list[AgentStatus]:
        self._require_open()
        return self.client.agents()

    def _html(self) -> str:
        try:
            agents = self._agents()
        except ServiceError as error:
            return f"<div><b>Agent service</b>: {html.escape(error.detail)}</div>"
        where = f"at <code>{self.url}</code>, state in <code>{html.escape(str(self.state))}</code>"
        table = StatusTable("", agents).html_table()
        return f"<div><b>Agent service</b> {where} {api_link.anchor(self.url)}</div>{table}"


def _close_at_exit(service: LocalService) -> None:
    """End a service with the interpreter, while threads can still be started: atexit runs too late for that."""
    global _hooked  # noqa: PLW0603 - one hook a process; there is no taking it back
    _open.append(service)
    if not _hooked:
        _hooked = True
        getattr(threading, "_register_atexit", atexit.register)(_close_all)


def _close_all() -> None:
    for service in _open[:]:  # each takes itself out
        service.close()


def _own_fields(thing: object) -> set[str]:
    """Return the fields that a specification or a mapping says itself."""
    if isinstance(thing, AgentSpec):
        return set(thing.model_fields_set)
    return {str(key) for key in cast("Mapping[Any, Any]", thing)} if isinstance(thing, Mapping) else set()
