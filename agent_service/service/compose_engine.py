"""What makes the service's own RunEngine, in a process of its own: the process, the sink and the source."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from agent_service.brains.allowed_modules import Listed
from agent_service.documents.intake import DocumentIntake
from agent_service.documents.origin import Origin
from agent_service.documents.sources.engine_process import EngineProcessSource
from agent_service.errors import BackendUnavailable, UsageError
from agent_service.plans.sinks.engine_process import (
    ChildProcess,
    EngineLauncher,
    EngineLink,
    EngineProcessSink,
    TurnFile,
)
from agent_service.plans.sinks.engine_settings import EngineSettings
from agent_service.service.served_with import startup_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from agent_service.agents.supervisor import Supervisor
    from agent_service.documents.spool import Spool
    from agent_service.protocols import Document
    from agent_service.service.config import RunEngineSection, ServiceConfig
    from agent_service.state_dir import StateDir


_log = logging.getLogger(__name__)


class ComposedEngine(NamedTuple):
    """A sink, the source of its documents, and what both use."""

    sink: EngineProcessSink
    source: EngineProcessSource
    link: EngineLink
    turns: TurnFile

    async def take_over(self, spool: Spool) -> Collection[str]:
        """Have a spool take the documents that the process kept, and return the runs of which more may come.

        Raises `UsageError` when the disk does not take them; the process keeps them then.
        """
        if not self.sink.reattaches:
            return ()
        loop, refused = asyncio.get_running_loop(), asyncio.Event()

        def on_error(error: Exception | None) -> None:
            if error is not None:
                loop.call_soon_threadsafe(refused.set)

        intake = DocumentIntake(spool.write, sync=spool.sync, on_error=on_error)
        intake.gate.remember(await asyncio.to_thread(spool.ended))
        for documents in await asyncio.to_thread(spool.open_here):
            intake.resume(documents, Origin.HERE)
        intake.start(lambda name, document, run: None)
        self.source.start(intake)
        taking = loop.create_task(self._taken(intake))
        refusal = loop.create_task(refused.wait())
        try:
            await asyncio.wait({taking, refusal}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                raise UsageError(
                    "the disk does not take the documents that the RunEngine's process kept while no service was up; "
                    "make room on it and start the service again, before that process has waited for it in vain"
                )
            return taking.result()
        finally:
            taking.cancel()
            refusal.cancel()
            self.source.stop()
            await intake.stop()

    async def _taken(self, intake: DocumentIntake) -> Collection[str]:
        """Return the runs of which more may come, when all that the process has of them is in the intake's spool."""
        runs, written = await self.sink.hand_over.runs(), asyncio.Event()
        intake.barrier(written.set)
        await written.wait()
        return runs

    def go_on(self, open_runs: list[list[tuple[str, Document]]]) -> None:
        """Go on with runs that are open, and let the process hand over what it has."""
        self.source.resume(open_runs)
        self.sink.listen()

    def leave(self, state_dir: StateDir) -> None:
        """Leave the process to itself, and the directory to whoever takes it over: there is no service."""
        self.link.leave()
        self.turns.close()
        state_dir.release()


def engine_settings(section: RunEngineSection, modules: Iterable[str] | None) -> EngineSettings:
    """Return what a configuration says of its RunEngine."""
    return EngineSettings.of(section.startup, section.configure, section.seed, section.md, Listed.of(modules))


def lives_apart(section: RunEngineSection, *, headless: bool) -> bool:
    """Return whether the RunEngine has a process of its own: where nobody says it, in a headless service.

    Raises `UsageError` where it is to have one and cannot.
    """
    if not section.process or (section.process == "auto" and not headless):
        return False
    if (why := ChildProcess.why_not()) is None:
        return True
    if section.process == "auto":
        _log.info("%s; it is a thread of the service", why)
        return False
    raise UsageError(f"{why}; take [run_engine] process = false")


def not_here(section: RunEngineSection) -> str | None:
    """Return why this machine cannot keep the RunEngine's process on the processors that are named, None if it can."""
    if ChildProcess.why_not() is not None or not (missing := set(section.cpu_affinity) - os.sched_getaffinity(0)):
        return None
    there = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    return f"names processor {min(missing)}; those that this service may use are {there}"


async def own_process(
    config: ServiceConfig,
    state_dir: StateDir,
    intake: DocumentIntake,
    supervisor: Callable[[], Supervisor],
    *,
    early: ChildProcess | None,
) -> ComposedEngine:
    """Take over the RunEngine's process of a state directory, or start one; the directory is locked then.

    ``early`` is a process to take if there is none.

    Raises
    ------
    UsageError
        The directory is in use, the startup cannot be loaded, or there can be no process.
    """
    if why := not_here(config.run_engine):
        raise UsageError(f"run_engine.cpu_affinity {why}")
    code = " ".join(part.digest or "" for part in await asyncio.to_thread(startup_parts, config))
    section = config.run_engine
    settings = replace(
        engine_settings(section, config.security.modules), code=code, cpu_affinity=tuple(section.cpu_affinity)
    )
    launcher = EngineLauncher(
        state_dir.path, settings, waits_s=section.waits_s, keeps_documents=not intake.keeps, early=early
    )
    source = EngineProcessSource(asyncio.get_running_loop(), says_stored=intake.keeps)
    state_dir.lock()  # before anybody speaks to a process that is there
    try:
        link = EngineLink(launcher)
        await link.open(settings)
    except BackendUnavailable as error:
        state_dir.release()
        raise UsageError(f"{error.detail}; take [run_engine] process = false") from error
    except BaseException:
        state_dir.release()
        raise
    turns = TurnFile(launcher.turns)
    sink = EngineProcessSink(link, settings, turns, intake=intake, source=source, permits=lambda: supervisor().permits)
    return ComposedEngine(sink, source, link, turns)
