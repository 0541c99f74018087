"""The application: the one place that names concrete classes and puts them together."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI

import agent_service
from agent_service.agents.placement import Placement
from agent_service.agents.supervisor import Supervisor
from agent_service.archive import Archive
from agent_service.brains.listed import Listed
from agent_service.documents.sources.run_engine import NoEmitter, SubscribedEngine, asks
from agent_service.documents.spool import Spool
from agent_service.errors import UsageError
from agent_service.executors.process._executor import ProcessExecutor
from agent_service.executors.thread import ThreadExecutor
from agent_service.journal._journal import SqlJournal
from agent_service.models import own_names
from agent_service.plans import beamline, startup
from agent_service.plans.namespace import Namespace
from agent_service.plans.namespace_devices import NamespaceDevices
from agent_service.plans.sinks import bluesky_loop
from agent_service.plans.sinks.claim import ClaimSink
from agent_service.plans.sinks.run_engine import Emitter, RunEngineSink, RunEngineSource
from agent_service.plans.sinks.run_engine_driver import RunEngineDriver
from agent_service.server import gate, problems
from agent_service.server.allowed_hosts import Hosts
from agent_service.server.cached_reads import ReadyReads
from agent_service.server.routes import (
    agents,
    api_page,
    brain,
    claims,
    documents,
    events,
    health,
    jobs,
    panel_keys,
    queue,
    suggestions,
)
from agent_service.server.routes import service as service_routes
from agent_service.server.stop_signals import told_of_signals
from agent_service.service.claims import ClaimDesk
from agent_service.service.config import ServiceConfig, config_from_environment
from agent_service.service.detached import aside
from agent_service.service.metrics import TimedExecutor
from agent_service.service.panel_keys import PageOrigins, PanelKeys
from agent_service.service.service import Service
from agent_service.state_dir import StateDir

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from agent_service.protocols import Executor, PlanOrder

DESCRIPTION = """Agents that steer adaptive experiments on Bluesky: they *suggest* points, *ingest* outcomes, and
*report* what they think. Every route but `/healthz` and `/readyz` asks for a key, `Authorization: Apikey KEY`,
and names the scope that it must have."""


def create_app(config: ServiceConfig | None = None, *, engine: Any = None, headless: bool = True) -> FastAPI:
    """Return the ASGI application for one service.

    Parameters
    ----------
    config
        The configuration; None reads the file that ``AGENT_SERVICE_CONFIG`` names, or takes the defaults.
    engine
        A RunEngine of this process, to be subscribed as the source of documents and never called; its plans are then
        to be claimed (``[sink] kind = "claim"``).
    headless
        Whether the service has its process to itself. Agents with ``executor = "auto"`` live in processes of their own
        then, else in threads of this one.

    Returns
    -------
    fastapi.FastAPI
        Nothing runs before its lifespan begins; ``app.state.service`` is the running `Service` then.

    Raises
    ------
    UsageError
        The configuration is wrong. The state directory is looked at when the lifespan begins.

    Examples
    --------
    >>> app = create_app(ServiceConfig(service={"catalog": "none"}))
    >>> app.title
    'agent-service'
    """
    settled = config_from_environment() if config is None else config
    if engine is not None and (settled.sink.kind, settled.source.kind) != ("claim", "run_engine"):
        raise UsageError('a RunEngine of yours is never called by the service: set [sink] kind = "claim"')

    of_pages = PanelKeys()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        service = await _compose(settled, engine, of_pages, headless=headless)
        app.state.service = service
        await service.start()
        try:
            with told_of_signals(service.stopping.set):
                yield
        finally:
            await service.stop()

    app = FastAPI(
        title="agent-service",
        version=agent_service.__version__,
        description=DESCRIPTION,
        root_path=settled.service.root_path,
        lifespan=lifespan,
        responses=problems.RESPONSES,
        docs_url=None,
        redoc_url=None,
    )
    security = settled.security
    app.add_middleware(gate.Gate, hosts=Hosts(security.allowed_hosts, security.cors_origins))
    # outside the gate, so that a page can read its refusals too
    app.add_middleware(PageOrigins, origins=security.cors_origins, panel_keys=of_pages)
    problems.install(app)
    app.router.routes.insert(0, ReadyReads())
    # in the order in which they are tried: what a brain is asked is asked most
    for routes in (brain, service_routes, agents, suggestions, claims, events, queue, documents, jobs, panel_keys):
        app.include_router(routes.router, prefix="/api/v1")
    app.include_router(health.router)
    app.include_router(api_page.router)
    return app


def import_from(config: ServiceConfig) -> None:
    """Let modules that a configuration names be imported from its folders, first."""
    for folder in reversed(config.import_from):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


async def _compose(config: ServiceConfig, engine: Any, of_pages: PanelKeys, *, headless: bool) -> Service:
    import_from(config)
    state_dir = StateDir(config.service.state)
    if config.service.require_state and not state_dir.journal.exists():
        raise UsageError(
            f"{state_dir.path} holds no journal, and this service is not to begin without memory: bring that folder "
            "here with the others, as it was exported; or take require_state out of its service.toml"
        )
    state_dir.prepare()
    journal = SqlJournal(state_dir.journal, power_safe=config.service.durability == "power", held=state_dir.lost)
    spool = None if config.service.catalog == "none" else Spool(state_dir.spool)
    service = Service(config, state_dir=state_dir, journal=journal, spool=spool, panel_keys=of_pages)
    service.archive = Archive(state_dir, catalog=config.service.catalog, on_change=service.archive_changed)
    sink, emitter = await _own_run_engine(service) if config.sink.kind == "run_engine" else _claimed(service, engine)
    service.hears = not isinstance(emitter, NoEmitter)
    limits = await aside(lambda: own_names.limits(config.guardrails, sink.own_name), name="looking for devices")
    service.source = RunEngineSource(emitter, spool.write if spool else None, on_error=service.spool_failed)
    service.supervisor = Supervisor(
        journal=journal,
        sink=sink,
        placement=Placement(
            thread=_timed(ThreadExecutor(), service),
            process=_timed(ProcessExecutor(base=("agent_service.brains.factory",)), service),
            headless=headless,
            listed=Listed.of(config.security.modules),
        ),
        archived=service.archive.wait_for,
        documents=service.past_run,
        limits=limits,
    )
    if isinstance(sink, ClaimSink):
        service.claims = ClaimDesk(sink, service.supervisor, service.stopping)
    return service


def _timed(executor: Executor, service: Service) -> Executor:
    return cast("Executor", TimedExecutor(executor, service.metrics.called))


async def _own_run_engine(service: Service) -> tuple[RunEngineSink, Emitter]:
    section, listed = service.config.run_engine, Listed.of(service.config.security.modules)

    def permit(order: PlanOrder, found: Mapping[str, float], wholes: Mapping[str, Sequence[str]]) -> None:
        service.supervisor.ask_devices(order)  # made after the sink
        service.supervisor.permit(order, found, wholes)

    def load() -> tuple[Namespace, asyncio.AbstractEventLoop | None]:
        if section.startup is None:
            return startup.load(None, default=lambda: beamline.simulated(seed=section.seed), listed=listed), None
        bluesky_loop.running()
        namespace = startup.load(section.startup, default=dict[str, object], listed=listed)
        return namespace, bluesky_loop.running()  # perhaps another: that of the RunEngine that it made itself

    namespace, loop = await aside(load, name="loading the startup")
    configure = startup.configurer(namespace, section.configure)
    driver = RunEngineDriver(loop, configure=_configured(*configure) if configure else lambda _: None)
    return RunEngineSink(driver, namespace, section.md, permit=permit), driver


def _claimed(service: Service, engine: Any) -> tuple[ClaimSink, Emitter]:
    def may_begin(order: PlanOrder) -> bool:
        return service.supervisor.may_begin(order)  # made after the sink

    md = service.config.run_engine.md
    if engine is None:
        return ClaimSink(md, may_begin=may_begin), NoEmitter()
    devices = NamespaceDevices(Namespace(vars(sys.modules["__main__"]), source="this notebook"), asks(engine))
    return ClaimSink(md, may_begin=may_begin, devices=devices), SubscribedEngine(engine)


def _configured(called: str, configure: Callable[[Any], object]) -> Callable[[Any], None]:
    """Return a function that sets a RunEngine up, and says what that raised in one line."""

    def call(engine: Any) -> None:
        try:
            configure(engine)
        except (Exception, SystemExit) as error:
            raise UsageError(f"{called} raised {startup.said(error)}") from error

    return call
