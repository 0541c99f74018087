"""What makes the service's own RunEngine, in a process of its own: the process, the sink and the source."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from agent_service.brains.allowed_modules import Listed
from agent_service.documents.sources.engine_process import EngineProcessSource
from agent_service.errors import UsageError
from agent_service.plans.sinks.engine_process import EngineLauncher, EngineLink, EngineProcessSink, TurnFile
from agent_service.plans.sinks.engine_settings import EngineSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent_service.agents.supervisor import Supervisor
    from agent_service.documents.intake import DocumentIntake
    from agent_service.protocols import Document
    from agent_service.service.config import RunEngineSection
    from agent_service.state_dir import StateDir


class ComposedEngine(NamedTuple):
    """A sink, the source of its documents, and what both use."""

    sink: EngineProcessSink
    source: EngineProcessSource
    link: EngineLink
    turns: TurnFile

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


async def own_process(
    section: RunEngineSection,
    modules: Iterable[str] | None,
    state_dir: StateDir,
    intake: DocumentIntake,
    supervisor: Callable[[], Supervisor],
) -> ComposedEngine:
    """Take over the RunEngine's process of a state directory, or start one; the directory is locked then.

    Raises
    ------
    UsageError
        The directory is in use, the startup cannot be loaded, or there can be no process.
    """
    if (why := EngineLauncher.why_not()) is not None:
        raise UsageError(f"{why}; take [run_engine] process = false")
    settings = engine_settings(section, modules)
    launcher = EngineLauncher(state_dir.path, settings, waits_s=section.waits_s, keeps_documents=not intake.keeps)
    source = EngineProcessSource(asyncio.get_running_loop(), says_stored=intake.keeps)
    state_dir.lock()  # before anybody speaks to a process that is there
    try:
        link = EngineLink(launcher)
        await link.open(settings)
    except BaseException:
        state_dir.release()
        raise
    turns = TurnFile(launcher.turns)
    sink = EngineProcessSink(link, settings, turns, intake=intake, source=source, permits=lambda: supervisor().permits)
    return ComposedEngine(sink, source, link, turns)
