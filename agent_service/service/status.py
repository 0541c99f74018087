"""What the service says of itself: status and readiness, from memory."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING

from agent_service._version import __version__
from agent_service.archive.refused import refusal
from agent_service.documents.gate_watch import MOST_SHOWN
from agent_service.errors import texts
from agent_service.models import Readiness, ReadyPart, ServiceStatus, SourceState, utcnow
from agent_service.service.keys import Scope

if TYPE_CHECKING:
    from agent_service.agents.supervisor import Supervisor
    from agent_service.archive import Archive
    from agent_service.journal import JournalLog
    from agent_service.service.config import ServiceConfig
    from agent_service.service.documents import DocumentDesk
    from agent_service.service.keys import Key
    from agent_service.service.notify import NotifyDesk
    from agent_service.state_dir import StateDir


class StatusDesk:
    """Says how a service is; belongs to the event loop.

    Attributes
    ----------
    ready
        Whether the service has started, and does not end yet.
    session
        The id of this run of the service.
    """

    def __init__(  # noqa: PLR0913 - what there is to say something of, by name
        self,
        *,
        config: ServiceConfig,
        state_dir: StateDir,
        journal: JournalLog,
        supervisor: Supervisor,
        archive: Archive,
        documents: DocumentDesk,
        notify: NotifyDesk,
    ) -> None:
        self.ready = False
        self.session = str(uuid.uuid4())
        self._started_at = utcnow()
        self._config = config
        self._state_dir = state_dir
        self._journal = journal
        self._supervisor = supervisor
        self._archive = archive
        self._documents = documents
        self._notify = notify

    def shown_to(self, key: Key) -> ServiceStatus:
        """Return the service as the API shows it to the holder of a key."""
        archive, journal = self._archive.status, self._journal.fault
        faults = (
            journal and f"the journal cannot be written, nothing can be acknowledged: {journal}",
            self._spool_fault,
            refusal(archive.runs_refused, archive.decisions_refused, self._state_dir.path),
        )
        return ServiceStatus(
            version=__version__,
            session=self.session,
            started_at=self._started_at,
            uptime_s=(utcnow() - self._started_at).total_seconds(),
            state_dir=str(self._state_dir.path),
            agents=dict(Counter(str(life.state) for life in self._supervisor.lives.values())),
            queue=self._supervisor.queue.status,
            archive=archive,
            sources=self._documents.sources,
            suspects=self._documents.suspects[:MOST_SHOWN],
            faults=[fault for fault in faults if fault],
            conditions=self._supervisor.conditions.statuses(),
            notices=self._notify.status,
            key=key.name,
            scopes=[str(scope) for scope in Scope if scope in key.scopes],
            guardrails=self._config.guardrails,
        )

    def readiness(self) -> Readiness:
        """Return whether the service takes work; neither a catalogue that lags nor the beam holds readiness back."""
        archive, spool = self._archive.status, self._spool_fault
        catalogue, unmet = archive.state in ("ready", "none"), self._supervisor.conditions.unmet
        journal = self._journal.fault and f"it cannot be written: {self._journal.fault}"
        if journal is None and not self._journal.leads:
            journal = "another service may lead by now: the lease on the journal is over"
        parts = {
            "service": ReadyPart(ready=self.ready, reason=None if self.ready else "starting or stopping"),
            "journal": ReadyPart(ready=journal is None, reason=journal),
            "queue": ReadyPart(ready=not self._supervisor.queue.held, reason=self._supervisor.queue.status.reason),
            "conditions": ReadyPart(ready=unmet is None, reason=unmet),
            "spool": ReadyPart(ready=spool is None, reason=spool),
            "catalogue": ReadyPart(
                ready=catalogue, reason=archive.reason or (None if catalogue else f"it is {archive.state}")
            ),
        }
        parts["sources"] = self._sources()
        return Readiness(ready=all(parts[part].ready for part in ("service", "journal", "spool")), parts=parts)

    def _sources(self) -> ReadyPart:
        """Return whether all sources are there; what is behind and a run that waits for its documents are said, too."""
        sources = self._documents.sources
        away = [
            f"{source.kind} {source.where} is away: {source.reason}"
            for source in sources
            if source.state is not SourceState.CONNECTED
        ]
        behind = [f"{source.kind} {source.where} is {source.lag} behind" for source in sources if source.lag]
        suspects = len(self._documents.suspects)
        waiting = [f"{texts.counted(suspects, 'run')} did not arrive whole yet"] if suspects else []
        return ReadyPart(ready=not away, reason="; ".join(away + behind + waiting) or None)

    @property
    def _spool_fault(self) -> str | None:
        error = self._documents.spool_error
        return None if error is None else f"documents cannot be written to {self._state_dir.spool}: {error}"
