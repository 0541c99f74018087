"""The only module that names concrete classes and combines them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import uuid
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from agent_service.agents.placement import Placement
from agent_service.agents.saved_brains import SavedBrains
from agent_service.agents.supervisor import Supervisor
from agent_service.archive import Archive
from agent_service.brains.allowed_modules import Listed
from agent_service.documents.ended_runs import EndedRuns
from agent_service.documents.intake import DocumentIntake
from agent_service.documents.sources.posted import PostedSource
from agent_service.documents.sources.run_engine import asks
from agent_service.documents.spool import Spool
from agent_service.errors import UsageError
from agent_service.executors.dask import DaskExecutor
from agent_service.executors.detached import run_detached
from agent_service.executors.process import ProcessExecutor
from agent_service.executors.thread import ThreadExecutor
from agent_service.journal import JournalLog, PostgresStore, SqliteStore
from agent_service.models import EventKind, own_names
from agent_service.plans.namespace import Namespace, NamespaceDevices
from agent_service.plans.sinks.blueapi import blueapi_of
from agent_service.plans.sinks.blueapi.sink import BlueapiSink
from agent_service.plans.sinks.claim import ClaimSink
from agent_service.plans.sinks.claim_leases import TAKEN_UP_S, Claimed
from agent_service.plans.sinks.queue_server.clients import client_of
from agent_service.plans.sinks.queue_server.session_sink import SessionSink
from agent_service.plans.sinks.queue_server.sink import QueueServerSink
from agent_service.plans.sinks.run_engine import RunEngineSink
from agent_service.plans.sinks.run_engine_driver import RunEngineDriver
from agent_service.plans.watched_signals import NamespaceSignals
from agent_service.service import conditions
from agent_service.service.access import Access
from agent_service.service.claims import ClaimDesk
from agent_service.service.compose_engine import engine_settings, lives_apart, own_process
from agent_service.service.compose_sources import SourceParts, hears_elsewhere, sources_of
from agent_service.service.documents import DocumentDesk, may_measure, past_run
from agent_service.service.gauges import ServiceGauges
from agent_service.service.idempotency import Answers
from agent_service.service.jobs import JobDesk
from agent_service.service.leader import ends_at_once
from agent_service.service.metrics import Metrics
from agent_service.service.notify import NotifyDesk
from agent_service.service.retention import Retention
from agent_service.service.service import Service
from agent_service.service.shared_files import SharedFiles
from agent_service.service.snapshot_process import fold_elsewhere
from agent_service.service.status import StatusDesk
from agent_service.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent_service.plans.sinks.blueapi.config import BlueapiSection
    from agent_service.plans.sinks.claim_leases import Claims
    from agent_service.plans.sinks.engine_process import ChildProcess
    from agent_service.plans.sinks.queue_server.config import QueueServerSection
    from agent_service.plans.sinks.run_engine import Look
    from agent_service.protocols import PlanOrder, PlanSink, Signals
    from agent_service.service.config import ServiceConfig
    from agent_service.service.panel_keys import PanelKeys


def import_from(config: ServiceConfig) -> None:
    """Let modules that a configuration names be imported from its folders, first."""
    for folder in reversed(config.import_from):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


async def compose(
    config: ServiceConfig,
    engine: Any,
    panel_keys: PanelKeys,
    *,
    headless: bool,
    early_engine: ChildProcess | None = None,
) -> Service:
    """Put a service together. Nothing of it runs yet.

    Parameters
    ----------
    config
        The configuration.
    engine
        A RunEngine of this process to listen to, or None.
    panel_keys
        Keys of the pages that this service serves.
    headless
        Whether the service has its process to itself.
    early_engine
        A process for its RunEngine that was started already.

    Raises
    ------
    UsageError
        The state directory cannot be used, or the startup cannot be loaded.
    """
    import_from(config)
    conditions.check_signals(config, None)  # before a process is started
    with contextlib.ExitStack() as undo:
        service = await _compose(config, engine, panel_keys, undo, headless=headless, early_engine=early_engine)
        undo.pop_all()
    return service


async def _compose(  # noqa: PLR0913 - what it is made of
    config: ServiceConfig,
    engine: Any,
    panel_keys: PanelKeys,
    undo: contextlib.ExitStack,
    *,
    headless: bool,
    early_engine: ChildProcess | None,
) -> Service:
    """Put a service together; what ``undo`` is given is done when that fails."""
    state_dir = StateDir(config.service.state)
    url = None if config.journal.url is None else config.journal.url.get_secret_value()
    if config.service.require_state and url is None and not state_dir.journal.exists():
        raise UsageError(
            f"{state_dir.path} holds no journal, and this service is not to begin without memory: bring that folder "
            "here with the others, as it was exported; or take require_state out of its service.toml"
        )
    state_dir.prepare()
    power_safe = config.service.durability == "power"
    state_dir.keep_journal_url(url)
    database = None if url is None else PostgresStore(url, lease_s=config.journal.lease_s)
    journal = JournalLog(database or SqliteStore(state_dir.journal, power_safe=power_safe, folder_lost=state_dir.lost))
    if config.journal.standby and config.api_key is None:
        raise UsageError(
            "[journal] standby = true needs the key in AGENT_SERVICE_API_KEY, the same for each service: clients go to "
            "whichever leads"
        )
    elsewhere = hears_elsewhere(config)
    spool = _spool(config, state_dir, elsewhere=elsewhere)
    stopping, metrics = asyncio.Event(), Metrics()

    def publish_lag() -> None:
        journal.publish(EventKind.PROGRESS, None, {"archive": archive.status.model_dump(mode="json")})

    def spool_failed(error: Exception | None) -> None:
        documents.spool_failed(error)

    def publish_sources() -> None:
        journal.publish(EventKind.PROGRESS, None, {"sources": documents.summary()})

    def journal_url() -> str:
        return state_dir.journal_url if database is None else database.reader_url

    archive = Archive(
        state_dir,
        catalog=config.service.catalog,
        last_seq=lambda: journal.last_seq,
        on_change=publish_lag,
        journal_url=journal_url,
    )
    intake = DocumentIntake(
        spool.write if spool else None,
        on_error=spool_failed,
        sync=spool.sync if spool and power_safe and elsewhere else None,
    )
    if config.sink.own_engine and lives_apart(config.run_engine, headless=headless):
        apart = await own_process(config, state_dir, intake, lambda: supervisor, early=early_engine)
        undo.callback(apart.leave, state_dir)
        sink, engine, claimable, signals = apart.sink, apart.source, None, apart.sink.signals
    else:
        apart = None
        late = LateParts(lambda: supervisor, lambda: documents.ask_catalogues())  # noqa: PLW0108 - made after the sink
        sink, engine, claimable, signals = await SINKS[config.sink.kind](config, intake, engine, late)
    limits = await run_detached(
        lambda: own_names.limits(config.guardrails, sink.own_name, known=config.sink.own_engine),
        name="looking for devices",
    )
    if signals is None and config.conditions and config.run_engine.startup is not None:  # others have the devices
        settings = engine_settings(config.run_engine, config.security.modules)
        namespace, loop, _ = await run_detached(settings.load, name="loading the startup")
        signals = NamespaceSignals(namespace, asks(SimpleNamespace(loop=loop)))
    await run_detached(lambda: conditions.check_signals(config, signals), name="looking for signals")
    supervisor = Supervisor(
        journal=journal,
        sink=sink,
        placement=Placement(
            {
                "thread": ThreadExecutor(on_call=partial(metrics.called, "thread")),
                "process": ProcessExecutor(
                    base=("agent_service.brains.factory",), on_call=partial(metrics.called, "process")
                ),
                "dask": DaskExecutor(config.executors.dask, on_call=partial(metrics.called, "dask")),
            },
            headless=headless,
            listed=Listed.of(config.security.modules),
        ),
        archived=archive.wait_for,
        documents=lambda uid: past_run(archive, uid),
        limits=limits,
        conditions=config.conditions,
        signals=signals,
        saved_brains=SavedBrains(state_dir.brains),
    )
    claims = None if claimable is None else ClaimDesk(claimable, supervisor, stopping)
    posted = PostedSource(may_measure(supervisor))
    parts = SourceParts(
        engine,
        posted,
        intake.gate,
        state_dir.path / "sources",
        needed_since=supervisor.under_way_since,
        again=config.journal.standby or spool is None,
    )
    sources = sources_of(config, parts)
    documents = DocumentDesk(
        intake=intake,
        sources=sources,
        posted=posted,
        spool=spool,
        supervisor=supervisor,
        on_change=publish_sources,
        goes_on=apart.go_on if apart else lambda documents: None,
        take_over=apart.take_over if apart else None,
    )
    notify = NotifyDesk(config.notify, supervisor, archive)
    service = Service(
        config=config,
        state_dir=state_dir,
        journal=journal,
        archive=archive,
        supervisor=supervisor,
        documents=documents,
        jobs=JobDesk(journal, stopping=stopping, touch=supervisor.touch),
        claims=claims,
        answers=Answers(state_dir.answers, power_safe=power_safe),
        access=Access(state_dir, panel_keys, config.api_key),
        status=StatusDesk(
            config=config,
            state_dir=state_dir,
            journal=journal,
            supervisor=supervisor,
            archive=archive,
            documents=documents,
            notify=notify,
        ),
        metrics=metrics,
        retention=Retention(
            journal,
            config.service,
            cursor=None if spool is None else state_dir.catalog_cursor,
            fold=lambda seq, forget: fold_elsewhere(journal_url(), seq, forget=forget),
        ),
        notify=notify,
        stopping=stopping,
        shared=None if database is None else SharedFiles(state_dir, database.notes),
        ends_at_once=ends_at_once if headless and database is not None else None,
    )
    metrics.collect_from(ServiceGauges(service))
    return service


def _spool(config: ServiceConfig, state_dir: StateDir, *, elsewhere: bool) -> Spool | None:
    """Return the spool; what others measure goes from there into the embedded catalogue only: theirs is theirs."""
    if config.service.catalog == "none":
        return None
    ended_runs = EndedRuns(state_dir.spool / "ended") if elsewhere else None
    return Spool(state_dir.spool, catalogued=config.service.catalog != "embedded", ended_runs=ended_runs)


class LateParts(NamedTuple):
    """What a sink uses that is made after it."""

    supervisor: Callable[[], Supervisor]
    ask_catalogues: Callable[[], Awaitable[None]]

    def may_begin(self, order: PlanOrder) -> bool:
        """Return whether an agent wants its plan to begin now; raises `OutOfBounds`."""
        return self.supervisor().permits.may_begin(order)

    def claimed(self, order: PlanOrder) -> Claimed | None:
        """Return who claimed a suggestion, as the journal says; None: nobody, or it was given back."""
        if (owner := self.supervisor().find_owner(order.suggestion_id)) is None:
            return Claimed("")
        by = owner.record.claimed_by.get(order.suggestion_id)
        lease_s, says_done = owner.record.claim_terms.get(order.suggestion_id, (TAKEN_UP_S, True))
        return None if by is None else Claimed(by, lease_s, says_done)

    def permit(self, order: PlanOrder) -> None:
        """Raise `OutOfBounds` for what is forbidden at its turn."""
        self.supervisor().permits.permit(order, {}, begins=False)

    def moved(self, order: PlanOrder) -> None:
        """Note that a move has begun."""
        self.supervisor().permits.note_begun(order)


class ComposedSink(NamedTuple):
    """A sink, the RunEngine of its plans in this process, what can be claimed of it, and what has the signals."""

    sink: PlanSink
    engine: Any
    claims: Claims | None = None
    signals: Signals | None = None


async def _own_run_engine(config: ServiceConfig, intake: DocumentIntake, _engine: Any, late: LateParts) -> ComposedSink:
    settings = engine_settings(config.run_engine, config.security.modules)

    def permit(order: PlanOrder, look: Look) -> None:
        late.supervisor().permits.ask_devices(order)
        late.supervisor().permits.permit(order, *look())

    loaded = await run_detached(settings.load, name="loading the startup")
    driver = RunEngineDriver(intake, loaded.loop, configure=loaded.configure)
    sink = RunEngineSink(driver, loaded.namespace, settings.md, permit=permit)
    return ComposedSink(sink, driver.engine, signals=NamespaceSignals(loaded.namespace, driver.engine.ask))


async def _claimed(config: ServiceConfig, intake: DocumentIntake, engine: Any, late: LateParts) -> ComposedSink:
    devices: NamespaceDevices | None = None
    signals: NamespaceSignals | None = None
    if engine is not None:
        namespace = Namespace(vars(sys.modules["__main__"]), source="this notebook")
        devices, signals = NamespaceDevices(namespace, asks(engine)), NamespaceSignals(namespace, asks(engine))
    md = config.run_engine.md
    sink = ClaimSink(md, intake, may_begin=late.may_begin, devices=devices, claimed=late.claimed)
    return ComposedSink(sink, engine, sink.claims, signals)


async def _blueapi(config: ServiceConfig, intake: DocumentIntake, engine: Any, late: LateParts) -> ComposedSink:
    section = cast("BlueapiSection", config.sink)

    rest, peer = blueapi_of(section)
    md, session = config.run_engine.md, section.instrument_session
    about: dict[str, Any] = {"may_begin": late.may_begin, "permit": late.permit, "moved": late.moved}
    about["look_up"] = late.ask_catalogues
    return ComposedSink(BlueapiSink(rest, peer, md, intake, session=session, **about), engine)


async def _queue_server(config: ServiceConfig, intake: DocumentIntake, engine: Any, late: LateParts) -> ComposedSink:
    section = cast("QueueServerSection", config.sink)

    def may_begin(order: PlanOrder) -> bool:
        return not intake.full and late.may_begin(order)

    about: dict[str, Any] = {"may_begin": may_begin, "permit": late.permit, "moved": late.moved}
    about["look_up"] = late.ask_catalogues
    about |= {"poll_s": section.poll_s, "gives_way": section.gives_way}
    client, md = client_of(section), config.run_engine.md
    if section.per_item == "run":
        return ComposedSink(QueueServerSink(client, md, **about), engine)
    where = f"{socket.gethostname()}:{config.service.state.resolve()}"
    sink = SessionSink(
        client,
        md,
        **about,
        idle_s=section.idle_s,
        claimed=late.claimed,
        service=str(uuid.uuid5(uuid.NAMESPACE_URL, where)),  # the same after a restart
    )
    return ComposedSink(sink, engine, sink.claims)


SINKS: Final[Mapping[str, Callable[[ServiceConfig, DocumentIntake, Any, LateParts], Awaitable[ComposedSink]]]] = {
    "run_engine": _own_run_engine,
    "claim": _claimed,
    "queueserver": _queue_server,
    "blueapi": _blueapi,
}
"""What makes the sink of each kind: ``make(config, intake, engine, late)``, with where the documents go, the RunEngine
of this process to listen to, and what is made after the sink."""
