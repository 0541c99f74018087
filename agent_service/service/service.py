"""The running service: its parts, and the order in which they start and end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from typing import TYPE_CHECKING, Final

from agent_service._version import __version__
from agent_service.agents.record.service import ServiceRecord
from agent_service.archive.backlog import refusal
from agent_service.documents.copies import plain
from agent_service.documents.runs import Run
from agent_service.documents.sources.posted import PostedRuns
from agent_service.errors import BackendUnavailable, FieldError, Forbidden, InvalidInput, NotFound
from agent_service.executors.notices import listening_to_logs
from agent_service.models import UID_SAID, EventKind, Readiness, ReadyPart, ServiceStatus, is_uid, utcnow
from agent_service.service.jobs import JobDesk
from agent_service.service.keys import KeyFile, Keyring, Scope
from agent_service.service.metrics import Metrics
from agent_service.service.panel_keys import PREFIX, PanelKey
from agent_service.service.retention import Retention
from agent_service.service.stream_slots import StreamSlots

if TYPE_CHECKING:
    from agent_service.agents.agent import HostedAgent
    from agent_service.agents.supervisor import Supervisor
    from agent_service.archive import Archive
    from agent_service.documents.spool import Spool
    from agent_service.journal import SqlJournal
    from agent_service.models import AgentSpec, Event
    from agent_service.protocols import Document, DocumentSource
    from agent_service.service.claims import ClaimDesk
    from agent_service.service.config import ServiceConfig
    from agent_service.service.keys import Key
    from agent_service.service.panel_keys import PanelKeys
    from agent_service.state_dir import StateDir

ABORTS_WITHIN_S: Final = 2.0
"""How long the abort of a plan may take at least, even when nothing of the grace is left."""

ARCHIVE_STOPS_WITHIN_S: Final = 1.0
FORGETS_RUNS_AFTER_S: Final = 5.0
"""How long after the catalogue has a suggestion's run its documents are forgotten, if its outcome is known."""

_log = logging.getLogger(__name__)


class Service:
    """Everything that runs behind the routes; belongs to the event loop.

    Parameters
    ----------
    config
        The configuration.
    state_dir
        The state directory, not locked yet.
    journal, spool
        Where facts go, and where documents go first (None: nowhere).
    panel_keys
        The keys of notebook pages.

    Notes
    -----
    ``server/app.py`` chooses the parts, and sets `source`, `archive` and `supervisor`, which need to know the service;
    and ``hears``, whether there is a RunEngine whose documents it hears itself.
    """

    def __init__(
        self,
        config: ServiceConfig,
        *,
        state_dir: StateDir,
        journal: SqlJournal,
        spool: Spool | None,
        panel_keys: PanelKeys,
    ) -> None:
        self.config = config
        self.state_dir = state_dir
        self.journal = journal
        self.supervisor: Supervisor
        self.archive: Archive
        self.source: DocumentSource
        self.claims: ClaimDesk | None = None
        self.hears = True
        self.posted = PostedRuns(self._may_measure)
        self.session = str(uuid.uuid4())
        self.started_at = utcnow()
        self.stopping = asyncio.Event()
        self.hurried = asyncio.Event()
        self.jobs = JobDesk(journal, stopping=self.stopping, touch=self._touch)
        self.api_key = ""
        self.key_is_new = False
        self.keyring: Keyring
        self.panel_keys = panel_keys
        self.streams = StreamSlots()
        self.metrics = Metrics()
        self._spool = spool
        self._ready = False
        self._spool_fault: str | None = None
        self._forgetting: asyncio.Task[None] | None = None
        self._retention: Retention | None = None
        self._said_started = False
        self._agents_logs = contextlib.ExitStack()

    async def start(self) -> None:
        """Start the parts, the memory first and what moves last; on a failure, end those that were started.

        Raises
        ------
        UsageError
            The state directory or the journal cannot be used, or an agent of the configuration is wrong.
        """
        self.state_dir.lock()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        if self.config.api_key is not None:
            self.api_key = self.config.api_key.get_secret_value()
        else:
            self.api_key, self.key_is_new = self.state_dir.api_key()
        self.keyring = Keyring(KeyFile(self.state_dir.keys_file), self.api_key)
        self.keyring.load()
        self.journal.open()
        self.journal.on_commit(self._apply)
        self.journal.on_fault(self._journal_changed)
        await self._remember()
        kept = await asyncio.to_thread(self._kept_runs, self.supervisor.undecided())
        loop = asyncio.get_running_loop()
        self._agents_logs.enter_context(listening_to_logs())
        self.source.start(lambda name, doc: self._on_loop(loop, name, doc))
        await self.supervisor.queue.start()
        await self.archive.start()
        await self.journal.append(EventKind.SERVICE_STATE, None, {"state": "started", "session": self.session})
        self._said_started = True
        for spec in self.config.agents:
            if (life := self.supervisor.lives.get(spec.name)) is None:
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
        await self.supervisor.recover(kept, default=self.config.service.recover, paused=self.state_dir.arrival.exists())
        self.state_dir.arrival.unlink(missing_ok=True)
        self._forgetting = asyncio.create_task(self._forget_kept_runs(), name="forget-runs")
        self.metrics.start()
        cursor = None if self.config.service.catalog == "none" else self.state_dir.outbox
        self._retention = Retention(self.journal, self.supervisor, self.config.service, cursor=cursor)
        self._retention.start()
        self._ready = True

    async def _remember(self) -> None:
        """Fold what the journal says."""
        snapshot = await asyncio.to_thread(self.journal.snapshot)
        seq = 0
        if snapshot is not None:
            seq, told = snapshot
            self.supervisor.restore(ServiceRecord.from_json(told))
        for event in await asyncio.to_thread(lambda: self.journal.read(after=seq)):
            self.supervisor.apply(event)
        self.supervisor.remembered()

    async def stop(self) -> None:
        """End the parts in turn: loops, plans (their stop documents are written), facts, archive, journal, lock.

        Calls and the plan under way may end by themselves in the first half of ``grace_s``, unless `hurried` is set.
        """
        ends_at = asyncio.get_running_loop().time() + self.config.service.grace_s
        was_ready, self._ready = self._ready, False
        self.stopping.set()
        self.metrics.stop()
        if self._forgetting is not None:
            self._forgetting.cancel()
        if self._retention is not None:
            self._retention.stop()
        try:
            if was_ready:
                await self._drain(self.config.service.grace_s / 2)
            await self.jobs.close()
            await self.supervisor.close()
            left_s = ends_at - asyncio.get_running_loop().time()
            await self.supervisor.queue.sink.stop(max(ABORTS_WITHIN_S, left_s))
            await asyncio.to_thread(self.source.stop)
            await self._say_stopped()
            await self.archive.stop(ARCHIVE_STOPS_WITHIN_S)
        finally:
            self._agents_logs.close()
            self.state_dir.service_file.unlink(missing_ok=True)  # nobody shall send a key to who takes the port next
            await self.journal.close()
            self.state_dir.release()

    async def _drain(self, within_s: float) -> None:
        """Let what is under way come to its end, and begin nothing more."""
        drained = asyncio.gather(self.jobs.ended(), self.supervisor.drain())
        hurried = asyncio.ensure_future(self.hurried.wait())
        try:
            await asyncio.wait({drained, hurried}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
            hurried.cancel()
            await asyncio.gather(drained, hurried, return_exceptions=True)

    async def _say_stopped(self) -> None:
        """Write that the service ends; one that did not come to its start wrote nothing, and does not now."""
        if not self._said_started:
            return
        self._said_started = False
        try:
            told = {"state": "stopped", "session": self.session}
            await self.journal.append(EventKind.SERVICE_STATE, None, told)
        except BackendUnavailable as error:
            _log.warning("the end of the service could not be written: %s", error.detail)

    def take_documents(self, documents: list[tuple[str, Document]], key: Key) -> None:
        """Take documents of a key: they go the way of the source's own, to the spool and the dispatcher.

        Raises
        ------
        Forbidden, Conflict, TooMany
            They are of a run, or of a suggestion, that is not that key's; none is taken then.
        """
        plain_ones = [one for name, doc in documents for one in plain(name, doc)]
        admitted, forgotten = self.posted.admit(plain_ones, key.name)
        for uid in forgotten:
            _log.warning("run %s, posted by %s, is forgotten: too many that it posts are open", uid, key.name)
            self.supervisor.dispatcher.forget(uid)
        for name, doc in admitted:
            if name == "start" and self.claims is not None:
                self.claims.begin(doc)
            self.source.put(name, doc)

    def _may_measure(self, suggestion_id: str, by: str) -> None:
        """Raise unless a key may post the run of a suggestion: it has claimed it, or it is of another service."""
        agent = self.supervisor.find_owner(suggestion_id)
        if agent is None:
            return
        holder = agent.record.claimed_by.get(suggestion_id)
        if holder is None and self.claims is None:
            raise Forbidden(
                f"suggestion {suggestion_id} is measured by the service's own RunEngine; no other run is taken for it"
            )
        if holder is None:
            raise Forbidden(f"nobody has claimed suggestion {suggestion_id}; claim it before you measure it")
        if holder != by:
            raise Forbidden(
                f"suggestion {suggestion_id} was claimed with the key {holder!r}, and only that one may post its run"
            )

    def _on_loop(self, loop: asyncio.AbstractEventLoop, name: str, doc: Document) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._take, name, doc)

    def _take(self, name: str, doc: Document) -> None:
        posted = self.posted.take(name, doc)
        self.supervisor.dispatcher.on_document(name, doc)
        self.supervisor.whereabouts.take(name, doc, hearsay=posted and self.hears)
        if self.claims is not None:
            self.claims.take(name, doc)

    def _touch(self, agent: str) -> None:
        if (life := self.supervisor.lives.get(agent)) is not None:
            life.agent.touched()

    def _apply(self, event: Event) -> None:
        self.supervisor.apply(event)
        if self.claims is not None:
            self.claims.apply(event)

    def spool_failed(self, error: Exception | None) -> None:
        """Remember that documents cannot be kept, or can be again; from any thread."""
        said = None if error is None else f"documents cannot be written to {self.state_dir.spool}: {error}"
        self._spool_fault = said

    @property
    def _journal_fault(self) -> str | None:
        fault = self.journal.fault
        return None if fault is None else f"the journal cannot be written, nothing can be acknowledged: {fault}"

    @property
    def _refusal(self) -> str | None:
        archive = self.archive.status
        return refusal(archive.runs_refused, archive.decisions_refused, self.state_dir.path)

    def _journal_changed(self) -> None:
        self.journal.publish(EventKind.PROGRESS, None, {"journal": {"fault": self.journal.fault}})

    def _kept_runs(self, undecided: dict[str, str | None]) -> dict[str, list[Run]]:
        """Close the runs that a crash left open, and return those of suggestions that are not decided yet."""
        if self._spool is None:
            return {}
        self._spool.close_interrupted()
        found = self._spool.find(undecided)
        return {uid: [Run.from_documents(documents) for documents in runs] for uid, runs in found.items()}

    async def _forget_kept_runs(self) -> None:
        """Forget, while the service runs, the runs that were kept for a crash and have an outcome by now."""
        while self._spool is not None:
            try:
                kept = await asyncio.to_thread(self._spool.kept)
                undecided = self.supervisor.undecided()
                done = [path for path, suggestion_id in kept.items() if suggestion_id not in undecided]
                await asyncio.to_thread(self._spool.forget, done)
            except OSError as error:
                _log.warning("runs in the spool cannot be forgotten: %s", error)
            await asyncio.sleep(FORGETS_RUNS_AFTER_S)

    def archive_changed(self) -> None:
        """Tell the followers how far the catalogue lags."""
        told = {"archive": self.archive.status.model_dump(mode="json")}
        self.journal.publish(EventKind.PROGRESS, None, told)

    async def past_run(self, uid: str) -> Run:
        """Return a run from the spool or the catalogue.

        Raises
        ------
        NotFound
            Neither has it.
        BackendUnavailable
            The catalogue cannot be asked now.
        """
        documents = await self.archive.documents(uid)
        if not any(name == "start" for name, _ in documents):
            raise NotFound(f"there is no run {uid} in the catalogue")
        return Run.from_documents(documents)

    async def create(self, spec: AgentSpec) -> HostedAgent:
        """Create an agent, if its code may be imported here. See `Supervisor.create`."""
        self._refuse(spec)
        return await self.supervisor.create(spec)

    async def check(self, spec: AgentSpec) -> None:
        """Raise what `create` would raise, but for the name, and create nothing."""
        self._refuse(spec)
        await self.supervisor.check(spec)

    def _refuse(self, spec: AgentSpec) -> None:
        odd = [FieldError(f"warm_start.{i}", UID_SAID) for i, one in enumerate(spec.warm_start) if not is_uid(one)]
        if odd:  # not by the model: a journal of 0.1.0 may hold some
            raise InvalidInput("; ".join(f"{one.field} {one.message}" for one in odd), errors=odd)

    def key_of(self, secret: str) -> Key | None:
        """Return a key, or None when it is unknown, revoked or ended by now.

        Raises
        ------
        BackendUnavailable
            Nobody can say that now: the file of keys cannot be read.
        """
        of_page = secret.startswith(PREFIX)
        found = self.panel_keys.find(secret, holds=self.keyring.holds) if of_page else self.keyring.find(secret)
        if found is None:
            self.keyring.refuse_unread()
        return found

    def holds(self, key: Key) -> bool:
        """Return whether a key that was found before is still valid."""
        if isinstance(key, PanelKey):
            return self.panel_keys.holds(key, holds=self.keyring.holds)
        return self.keyring.holds(key)

    def status(self, key: Key) -> ServiceStatus:
        """Return the service as the API shows it to the holder of a key, from memory."""
        agents: dict[str, int] = {}
        for life in self.supervisor.lives.values():
            agents[life.state] = agents.get(life.state, 0) + 1
        return ServiceStatus(
            version=__version__,
            session=self.session,
            started_at=self.started_at,
            uptime_s=(utcnow() - self.started_at).total_seconds(),
            state_dir=str(self.state_dir.path),
            agents=agents,
            queue=self.supervisor.queue.status,
            archive=self.archive.status,
            faults=[one for one in (self._journal_fault, self._spool_fault, self._refusal) if one is not None],
            key=key.name,
            scopes=[str(one) for one in Scope if one in key.scopes],
            guardrails=self.config.guardrails,
        )

    def readiness(self) -> Readiness:
        """Return whether the service takes work; the catalogue may lag, so it does not hold readiness back."""
        archive = self.archive.status
        catalogue = archive.state in ("ready", "none")
        journal = self.journal.fault and f"it cannot be written: {self.journal.fault}"
        parts = {
            "service": ReadyPart(ready=self._ready, reason=None if self._ready else "starting or stopping"),
            "journal": ReadyPart(ready=journal is None, reason=journal),
            "queue": ReadyPart(ready=not self.supervisor.queue.held, reason=self.supervisor.queue.status.reason),
            "spool": ReadyPart(ready=self._spool_fault is None, reason=self._spool_fault),
            "catalogue": ReadyPart(
                ready=catalogue, reason=archive.reason or (None if catalogue else f"it is {archive.state}")
            ),
        }
        return Readiness(ready=all(parts[one].ready for one in ("service", "journal", "spool")), parts=parts)
