"""The running service: its parts, and the order in which they start and end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_service.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    FieldError,
    InvalidInput,
    ServiceError,
    UsageError,
)
from agent_service.executors.notices import listening_to_logs
from agent_service.models import UID_DETAIL, EventKind, is_uid
from agent_service.models.state_machines import ALIVE
from agent_service.service import served_with
from agent_service.service.epics_server import EpicsServer
from agent_service.service.leader import JournalFold, stand_by
from agent_service.service.script_variables import ScriptVariables
from agent_service.service.served_with import ServedWith
from agent_service.service.stream_slots import StreamSlots
from agent_service.state_dir.last_served import serve_command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.agents.agent import HostedAgent
    from agent_service.agents.supervisor import Supervisor
    from agent_service.archive import Archive
    from agent_service.documents.runs import Run
    from agent_service.journal import JournalLog
    from agent_service.models import AgentSpec, Event
    from agent_service.service.access import Access
    from agent_service.service.claims import ClaimDesk
    from agent_service.service.config import ServiceConfig
    from agent_service.service.documents import DocumentDesk
    from agent_service.service.idempotency import Answers
    from agent_service.service.jobs import JobDesk
    from agent_service.service.metrics import Metrics
    from agent_service.service.notify import NotifyDesk
    from agent_service.service.retention import Retention
    from agent_service.service.shared_files import SharedFiles
    from agent_service.service.status import StatusDesk
    from agent_service.state_dir import StateDir

ABORTS_WITHIN_S: Final = 2.0
"""How long the abort of a plan may take at least, even when nothing of the grace is left."""

ARCHIVE_STOPS_WITHIN_S: Final = 1.0

_log = logging.getLogger(__name__)


@dataclass(eq=False, kw_only=True)
class Service:
    """Everything that runs behind the routes; belongs to the event loop.

    The state directory is not locked yet; ``claims`` is None where the service runs its plans itself. ``stopping`` is
    set when the service begins to end, ``stop_at_once`` when nothing is to be waited for any more. ``ends_at_once`` is
    called, with the reason, when another service leads: nothing of ours may be ended then, for it goes on elsewhere.
    ``say`` is told what is waited for, in words that follow "the service is".
    """

    config: ServiceConfig
    state_dir: StateDir
    journal: JournalLog
    archive: Archive
    supervisor: Supervisor
    documents: DocumentDesk
    jobs: JobDesk
    claims: ClaimDesk | None
    answers: Answers
    access: Access
    status: StatusDesk
    metrics: Metrics
    retention: Retention
    notify: NotifyDesk
    stopping: asyncio.Event
    stop_at_once: asyncio.Event = field(default_factory=asyncio.Event)
    streams: StreamSlots = field(default_factory=StreamSlots)
    script_variables: ScriptVariables = field(default_factory=ScriptVariables)
    epics: EpicsServer | None = None
    shared: SharedFiles | None = None
    ends_at_once: Callable[[str], None] | None = None
    say: Callable[[str], None] = lambda text: None
    _start_is_written: bool = field(default=False, init=False)
    _agents_logs: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, init=False)

    async def start(self) -> None:
        """Start the parts, the memory first and what moves last; on a failure, end those that were started."""
        self.state_dir.lock()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        self.access.open()
        await asyncio.to_thread(self.answers.open)
        fold = JournalFold(self.journal, self.supervisor, self.answers)
        if self.shared is not None:
            self.shared.start()
        if self.config.journal.standby:
            await stand_by(self.journal, fold, self.say)
        self.say("opening its journal; one of an older version is brought up to date first")
        seqs = await asyncio.to_thread(self.journal.open_store)
        self.say("starting")
        self.journal.open(seqs)
        if self.config.service.require_state and not self.journal.last_seq:
            raise UsageError("the journal is empty, and require_state says not to begin without memory")
        if self.shared is not None:
            await asyncio.to_thread(self.shared.take)
        self.journal.on_commit(self._apply)
        self.journal.on_late(self.supervisor.catch_up)
        self.journal.on_fault(self._follow_journal)
        await fold.go_on()
        await self.supervisor.remembered()
        kept = await self.documents.kept_runs()
        self._agents_logs.enter_context(listening_to_logs())
        self.documents.start()
        await self.supervisor.queue.start()
        await self.archive.start()
        started = {"state": "started", "session": self.status.session}
        await self.journal.append(EventKind.SERVICE_STATE, None, started)
        self._start_is_written = True
        for spec in self.config.agents:
            try:
                await self._configure(spec)
            except InvalidInput as error:
                of_file = any(file.suffix == ".toml" for file in self.config.files)
                named = f'{"[[agents]]" if of_file else "agent"} "{spec.name}": {error.detail}'
                raise type(error)(named, errors=error.errors) from error
        supervisor = self.supervisor
        supervisor.conditions.start(supervisor.record.conditions, known_until=fold.until)
        await self._recover(kept)
        self.documents.listen()
        self.state_dir.arrival.unlink(missing_ok=True)
        self.documents.forget_decided()
        self.metrics.start()
        self.epics = EpicsServer(self.config.epics, self.script_variables, self.supervisor.queue)
        await self.epics.start()
        self.retention.start()
        self.notify.start()
        self.status.ready = True

    async def _recover(self, kept: Mapping[str, Sequence[Run]]) -> None:
        """Bring the agents back, all of them paused where they were alive under something else than what holds now."""
        supervisor, arrived = self.supervisor, self.state_dir.arrival.exists()
        now = await asyncio.to_thread(ServedWith.of, self.config, supervisor.limits)
        alive = [life.agent.name for life in supervisor.lives.values() if life.agent.record.state in ALIVE]
        differs = served_with.differences(self.state_dir, now) if alive and not arrived else []
        paused = "; ".join(differs) or ("it came here from another service" if arrived else None)
        await supervisor.recover(kept, default=self.config.service.recover, paused=paused)
        if (parts := served_with.edited(self.state_dir, now)) is not None:
            _log.warning("the startup %s was edited since it was served last, and counts as it is now", parts)
        if differs:
            _log.warning("%s", served_with.said(alive, differs, serve_command(self.state_dir)))
        await asyncio.to_thread(served_with.remember, self.state_dir, self.config, now)

    async def _configure(self, spec: AgentSpec) -> None:
        """Create an agent of the configuration, or say what of it does not count for the one that is there."""
        life = self.supervisor.lives.get(spec.name)
        if life is None:
            await self.create(spec)
            return
        with contextlib.suppress(ServiceError):  # what names no device by now differs all the same
            spec = await self.supervisor.checks.named(spec)
        present = life.agent.spec
        if differs := [key for key in type(spec).model_fields if getattr(spec, key) != getattr(present, key)]:
            _log.warning(
                "agent %s exists already and is left as it is: what the configuration says by now of its %s is NOT "
                "in force; change it with client.update(%r, ...), or client.delete(%r) it and serve again",
                spec.name,
                ", ".join(differs),
                spec.name,
                spec.name,
            )

    async def archived(self, *, decisions: bool, within_s: float) -> None:
        """Return when the catalogue holds the runs that are complete now, and the agents' decisions if asked for.

        Raises `UsageError` when there is no catalogue, `DeadlineExceeded` or `BackendUnavailable` after ``within_s``
        seconds.
        """
        if self.archive.status.state == "none":
            raise UsageError('this service has no catalogue (catalog = "none"); serve with one: catalog="embedded"')
        stored = asyncio.Event()
        self.documents.intake.barrier(stored.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stored.wait(), within_s)
        await self.archive.drained(self.journal.last_seq if decisions else 0, within_s)
        if not stored.is_set():
            raise DeadlineExceeded(f"documents are not in the spool after {within_s:g} s: {self.documents.spool_error}")

    async def stop(self) -> None:
        """End the parts in turn: loops, plans (their stop documents are written), facts, archive, journal, lock.

        Calls and the plan under way may end by themselves in the first half of ``grace_s``, unless `stop_at_once` is
        set.
        """
        ends_at = asyncio.get_running_loop().time() + self.config.service.grace_s
        was_ready, self.status.ready = self.status.ready, False
        self.stopping.set()
        self.metrics.stop()
        self.documents.stop_forgetting()
        self.retention.stop()
        await self.notify.stop()
        try:
            if self.epics is not None:
                await self.epics.stop()
            if was_ready:
                await self._drain(self.config.service.grace_s / 2)
            await self.jobs.close()
            await self.supervisor.close()
            self.supervisor.conditions.stop()
            left_s = ends_at - asyncio.get_running_loop().time()
            await self.supervisor.queue.sink.stop(max(ABORTS_WITHIN_S, left_s))
            await self.documents.stop()
            await self._write_stop()
            await self.archive.stop(ARCHIVE_STOPS_WITHIN_S)
        finally:
            self._agents_logs.close()
            if self.shared is not None:
                await self.shared.stop()
            self.state_dir.service_file.unlink(missing_ok=True)  # nobody shall send a key to who takes the port next
            await self.journal.close()
            self.answers.close()
            self.state_dir.release()

    async def _drain(self, within_s: float) -> None:
        """Let what is under way come to its end, and begin nothing more."""
        drained = asyncio.gather(self.jobs.ended(), self.supervisor.drain())
        at_once = asyncio.ensure_future(self.stop_at_once.wait())
        try:
            await asyncio.wait({drained, at_once}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
            at_once.cancel()
            await asyncio.gather(drained, at_once, return_exceptions=True)

    async def _write_stop(self) -> None:
        """Write that the service ends; one that did not come to its start wrote nothing, and does not now."""
        if not self._start_is_written:
            return
        self._start_is_written = False
        try:
            stopped = {"state": "stopped", "session": self.status.session}
            await self.journal.append(EventKind.SERVICE_STATE, None, stopped)
        except BackendUnavailable as error:
            _log.warning("the end of the service could not be written: %s", error.detail)

    def _apply(self, event: Event) -> None:
        self.supervisor.apply(event)
        self.supervisor.queue.sink.apply(event)
        self.answers.on_fact(event)
        self.notify.on_fact(event)

    def _follow_journal(self) -> None:
        if self.ends_at_once is not None and self.journal.lost:
            self.ends_at_once(str(self.journal.fault))
        self.supervisor.follow_journal(self.journal.fault)
        self.journal.publish(EventKind.PROGRESS, None, {"journal": {"fault": self.journal.fault}})

    async def create(self, spec: AgentSpec) -> HostedAgent:
        """Create an agent, if its code may be imported here. See `Supervisor.create`."""
        _refuse_odd_uids(spec)
        return await self.supervisor.create(spec)

    async def check(self, spec: AgentSpec) -> None:
        """Raise what `create` would raise, but for the name, and create nothing."""
        _refuse_odd_uids(spec)
        await self.supervisor.checks.check(spec)


def _refuse_odd_uids(spec: AgentSpec) -> None:
    odd = [FieldError(f"warm_start.{i}", UID_DETAIL) for i, uid in enumerate(spec.warm_start) if not is_uid(uid)]
    if odd:  # not by the model: a journal of 0.1.0 may hold some
        raise InvalidInput("; ".join(f"{wrong.field} {wrong.message}" for wrong in odd), errors=odd)
