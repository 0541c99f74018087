"""The one place that names concrete classes and puts them together."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from agent_service.agents.placement import Placement
from agent_service.agents.supervisor import Supervisor
from agent_service.archive import Archive
from agent_service.brains.listed import Listed
from agent_service.documents.sources.run_engine import NoEmitter, SubscribedEngine, asks
from agent_service.documents.spool import Spool
from agent_service.errors import UsageError
from agent_service.executors.process import ProcessExecutor
from agent_service.executors.thread import ThreadExecutor
from agent_service.journal import SqlJournal
from agent_service.models import own_names
from agent_service.plans import beamline, startup
from agent_service.plans.namespace import Namespace
from agent_service.plans.namespace_devices import NamespaceDevices
from agent_service.plans.sinks import bluesky_loop
from agent_service.plans.sinks.claim import ClaimSink
from agent_service.plans.sinks.run_engine import Emitter, RunEngineSink, RunEngineSource
from agent_service.plans.sinks.run_engine_driver import RunEngineDriver
from agent_service.service.claims import ClaimDesk
from agent_service.service.detached import aside
from agent_service.service.gauges import ServiceGauges
from agent_service.service.metrics import TimedExecutor
from agent_service.service.service import Service
from agent_service.state_dir import StateDir

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.protocols import Executor, PlanOrder
    from agent_service.service.config import ServiceConfig
    from agent_service.service.panel_keys import PanelKeys


def import_from(config: ServiceConfig) -> None:
    """Let modules that a configuration names be imported from its folders, first."""
    for folder in reversed(config.import_from):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


async def compose(config: ServiceConfig, engine: Any, of_pages: PanelKeys, *, headless: bool) -> Service:
    """Put a service together. Nothing of it runs yet.

    Parameters
    ----------
    config
        The configuration.
    engine
        A RunEngine of this process to listen to, or None.
    of_pages
        Keys of the pages that this service serves.
    headless
        Whether the service has its process to itself.

    Raises
    ------
    UsageError
        The state directory cannot be used, or the startup cannot be loaded.
    """
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
    service.metrics.collect_from(ServiceGauges(service))
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
