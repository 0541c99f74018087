"""The running service: its parts, and the order in which they start and end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_service.agents.record.service import ServiceRecord
from agent_service.errors import BackendUnavailable, DeadlineExceeded, FieldError, InvalidInput, UsageError
from agent_service.executors.notices import listening_to_logs
from agent_service.models import UID_DETAIL, EventKind, is_uid
from agent_service.service.stream_slots import StreamSlots

if TYPE_CHECKING:
    from datetime import datetime

    from agent_service.agents.agent import HostedAgent
    from agent_service.agents.supervisor import Supervisor
    from agent_service.archive import Archive
    from agent_service.journal import JournalLog
    from agent_service.models import AgentSpec, Event
    from agent_service.service.access import Access
    from agent_service.service.answers import Answers
    from agent_service.service.claims import ClaimDesk
    from agent_service.service.config import ServiceConfig
    from agent_service.service.documents import DocumentDesk
    from agent_service.service.jobs import JobDesk
    from agent_service.service.metrics import Metrics
    from agent_service.service.retention import Retention
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
    set when the service begins to end, ``stop_at_once`` when nothing is to be waited for any more.
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
    stopping: asyncio.Event
    stop_at_once: asyncio.Event = field(default_factory=asyncio.Event)
    streams: StreamSlots = field(default_factory=StreamSlots)
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
        self.journal.open()
        self.journal.on_commit(self._apply)
        self.journal.on_late(self.supervisor.catch_up)
        self.journal.on_fault(self._follow_journal)
        known_until = await self._fold_journal()
        kept = await self.documents.kept_runs()
        self._agents_logs.enter_context(listening_to_logs())
        self.documents.start()
        await self.supervisor.queue.start()
        await self.archive.start()
        started = {"state": "started", "session": self.status.session}
        await self.journal.append(EventKind.SERVICE_STATE, None, started)
        self._start_is_written = True
        for spec in self.config.agents:
            await self._configure(spec)
        supervisor = self.supervisor
        supervisor.conditions.start(supervisor.record.conditions, known_until=known_until)
        await self.supervisor.recover(kept, default=self.config.service.recover, paused=self.state_dir.arrival.exists())
        self.documents.listen()
        self.state_dir.arrival.unlink(missing_ok=True)
        self.documents.forget_decided()
        self.metrics.start()
        self.retention.start()
        self.status.ready = True

    async def _fold_journal(self) -> datetime | None:
        """Take in what the journal says; return the time of its last fact."""
        newest = await asyncio.to_thread(lambda: self.journal.read(newest_first=True, limit=1))
        snapshot = await asyncio.to_thread(self.journal.snapshot)
        seq = 0
        if snapshot is not None:
            seq, record = snapshot
            self.supervisor.restore(ServiceRecord.from_json(record))
        for event in await asyncio.to_thread(lambda: self.journal.read(after=seq)):
            self.supervisor.apply(event)
            self.answers.on_fact(event)
        self.supervisor.remembered()
        return newest[0].time if newest else None

    async def _configure(self, spec: AgentSpec) -> None:
        """Create an agent of the configuration, or say what of it does not count for the one that is there."""
        life = self.supervisor.lives.get(spec.name)
        if life is None:
            await self.create(spec)
        elif life.agent.spec != spec:
            _log.warning(
                "agent %s exists already and is left as it is: what the configuration says by now of its %s is NOT "
                "in force; change it with client.update(%r, ...), or client.delete(%r) it and serve again",
                spec.name,
                ", ".join(
                    key for key in type(spec).model_fields if getattr(spec, key) != getattr(life.agent.spec, key)
                ),
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
        try:
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

    def _follow_journal(self) -> None:
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
