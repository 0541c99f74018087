"""The service's handling of documents: it admits posted ones, passes all on, and keeps runs for a restart."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.documents.gate_watch import GateWatch
from agent_service.documents.origin import Origin
from agent_service.documents.run_of_document import suggestion_of
from agent_service.documents.runs import Run
from agent_service.errors import Forbidden, NotFound
from agent_service.models.state_machines import SuggestionState
from agent_service.plans.device_settings import units_in
from agent_service.protocols import Completer, MeasuredBy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from agent_service.agents.supervisor import Supervisor
    from agent_service.archive import Archive
    from agent_service.documents.intake import DocumentIntake
    from agent_service.documents.sources.heard import HeardSource
    from agent_service.documents.sources.posted import PostedSource
    from agent_service.documents.spool import Spool
    from agent_service.models import SourceStatus, SuspectRun
    from agent_service.protocols import Document
    from agent_service.service.keys import Key

_NOT_HANDED_OVER: Final = (SuggestionState.PROPOSED, SuggestionState.APPROVED, SuggestionState.REJECTED)

FORGETS_RUNS_AFTER_S: Final = 5.0
"""How long after the catalogue has a suggestion's run its documents are forgotten, if its outcome is known."""

_log = logging.getLogger(__name__)


class DocumentDesk:
    """Hands documents on to the agents; belongs to the event loop.

    ``goes_on`` is called with the documents so far of runs that go on though the service before this one has ended,
    after they were taken, and before any more of them. ``await take_over(spool)`` brings the documents into the spool
    that somebody kept while no service was there, before any is heard, and returns the runs that go on; where there is
    none, any of an undecided suggestion may.

    Attributes
    ----------
    ask_catalogues
        See `GateWatch`.
    spool_error
        Why documents cannot be kept, or None when they can.
    """

    def __init__(  # noqa: PLR0913 - the parts, by name
        self,
        *,
        intake: DocumentIntake,
        sources: Sequence[HeardSource],
        posted: PostedSource,
        spool: Spool | None,
        supervisor: Supervisor,
        on_change: Callable[[], None],
        goes_on: Callable[[list[list[tuple[str, Document]]]], None] = lambda documents: None,
        take_over: Callable[[Spool], Awaitable[Collection[str]]] | None = None,
    ) -> None:
        self.intake = intake
        self._sources = sources
        self._completers = [heard.source for heard in sources if isinstance(heard.source, Completer)]
        self._watch = GateWatch(
            intake, sources, self._completers, suggestions=supervisor.undecided, on_change=on_change
        )
        supervisor.dispatcher.may_come = self._watch.may_come
        self.ask_catalogues = self._watch.ask_catalogues
        self._open: list[list[tuple[str, Document]]] = []
        self._goes_on = goes_on
        self._take_over = take_over
        self._posted = posted
        self.spool_error: Exception | None = None
        self._spool = spool
        self._supervisor = supervisor
        self._sink = supervisor.queue.sink
        self._hears_itself = any(heard.source is not posted for heard in sources)
        self._forgetting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to hear the documents of this process."""
        self.intake.start(self._on_document)
        for heard in self._sources:
            if not heard.elsewhere:
                heard.start(self.intake)

    def listen(self) -> None:
        """Go on with the runs that others measure, and begin to hear them; call it when the agents are back."""
        ours = self._sink.measured_by is MeasuredBy.SERVICE
        for documents in self._open:
            self.intake.resume(documents, Origin.HERE if ours else Origin.ELSEWHERE)
        self._goes_on(self._open)
        self._open = []
        for heard in self._sources:
            if heard.elsewhere:
                heard.start(self.intake)
        self._watch.start()

    async def stop(self) -> None:
        """End, when all documents were delivered. Stop the sink first: its last stop document comes here."""
        self._watch.stop()
        await asyncio.gather(*(asyncio.to_thread(heard.source.stop) for heard in self._sources))
        await self.intake.stop()

    @property
    def sources(self) -> list[SourceStatus]:
        """The sources as they are at present."""
        return [heard.status for heard in self._sources]

    @property
    def suspects(self) -> list[SuspectRun]:
        """The runs that did not arrive whole and are waited for, the oldest first."""
        return self._watch.suspects()

    def summary(self) -> dict[str, Any]:
        """Return the states of the sources and the number of suspects, for those who follow."""
        states = [{"kind": source.kind, "state": str(source.state), "reason": source.reason} for source in self.sources]
        return {"states": states, "suspects": len(self.suspects)}

    def post(self, documents: list[tuple[str, Document]], key: Key) -> None:
        """Take documents of a key: they go the way of all others, to the spool and the dispatcher.

        Raises
        ------
        Forbidden, Conflict, TooMany
            They are of a run, or of a suggestion, that is not that key's; none is taken then.
        """
        admitted, forgotten = self._posted.post(documents, key.name)
        for uid in forgotten:
            _log.warning("run %s, posted by %s, is forgotten: too many that it posts are open", uid, key.name)
            self._supervisor.dispatcher.forget(uid)
        for name, document in admitted:
            if name == "start":  # at once: a plan whose run is here can be given back no more
                self._sink.observe(name, document, str(document["uid"]))

    def _on_document(self, name: str, document: Document, run: str) -> None:
        posted = self._posted.on_document(name, document, run)
        self._supervisor.dispatcher.on_document(name, document, run)
        self._supervisor.last_positions.on_document(name, document, run, hearsay=posted and self._hears_itself)
        self._sink.observe(name, document, run)
        if name == "descriptor" and isinstance(keys := document.get("data_keys"), dict):
            self._supervisor.devices.note_units(units_in(cast("dict[str, Any]", keys)))

    def spool_failed(self, error: Exception | None) -> None:
        """Remember that documents cannot be kept, or, with None, can be again; from any thread."""
        self.spool_error = error

    async def kept_runs(self) -> dict[str, list[Run]]:
        """Return the runs that count yet, by the id of their suggestion; those that ended with the service, closed.

        They count for suggestions that are not decided, or that take a run which comes late.

        Where plans go on while the service is away their runs are left open, and `listen` goes on with them. Raises
        `UsageError` when what was measured meanwhile cannot be kept.
        """
        if self._spool is None:
            return {}
        undecided = self._supervisor.undecided()
        go_on: Collection[str] = undecided if self._sink.reattaches else ()
        if self._take_over is not None:
            go_on = await self._take_over(self._spool)
        elsewhere = any(heard.elsewhere for heard in self._sources)
        wanted = {*undecided, *self._supervisor.late_takers()}
        return await asyncio.to_thread(self._kept, self._spool, wanted, go_on, elsewhere=elsewhere)

    def _kept(
        self, spool: Spool, wanted: Collection[str], go_on: Collection[str], *, elsewhere: bool
    ) -> dict[str, list[Run]]:
        """Return the runs of suggestions, those that go on last; the open ones are gone on with."""
        spool.close_interrupted(but=go_on)
        self._open = spool.open_here()
        self.intake.gate.remember(spool.ended())
        if elsewhere:
            self._open += spool.open_elsewhere()
        else:
            spool.close_elsewhere()
        runs_of = spool.find(wanted)
        kept = {uid: [Run.from_documents(documents) for documents in runs] for uid, runs in runs_of.items()}
        for documents in self._open:
            if (suggestion_id := suggestion_of(documents[0][1])) in wanted:
                kept.setdefault(suggestion_id, []).append(Run(tuple(documents)))
        return kept

    def forget_decided(self) -> None:
        """Begin to forget the runs that were kept for a crash and have an outcome by now, until `stop_forgetting`."""
        if self._spool is not None:
            self._forgetting = asyncio.create_task(self._forget_decided(self._spool), name="forget-runs")

    def stop_forgetting(self) -> None:
        """Forget no more."""
        if self._forgetting is not None:
            self._forgetting.cancel()

    async def _forget_decided(self, spool: Spool) -> None:
        while True:
            try:
                kept = await asyncio.to_thread(spool.kept)
                needed = {*self._supervisor.undecided(), *self._supervisor.untold()}
                decided = [path for path, suggestion_id in kept.items() if suggestion_id not in needed]
                await asyncio.to_thread(spool.forget, decided)
            except OSError as error:
                _log.warning("runs in the spool cannot be forgotten: %s", error)
            await asyncio.sleep(FORGETS_RUNS_AFTER_S)


def may_measure(supervisor: Supervisor) -> Callable[[str, str], None]:
    """Return ``may_measure(suggestion_id, by)``, which raises `Forbidden` unless a key may post a suggestion's run.

    It may when it has claimed the suggestion, when a queue of the facility has its plan, or when the suggestion is of
    another service.
    """

    def check(suggestion_id: str, by: str) -> None:
        agent = supervisor.find_owner(suggestion_id)
        if agent is None:
            return
        holder, measured_by = agent.record.claimed_by.get(suggestion_id), supervisor.queue.sink.measured_by
        if holder is None and measured_by is MeasuredBy.SERVICE:
            raise Forbidden(
                f"suggestion {suggestion_id} is measured by the service's own RunEngine; no other run is taken for it"
            )
        if measured_by is MeasuredBy.FACILITY:
            if agent.record.suggestion(suggestion_id).state in _NOT_HANDED_OVER:
                raise Forbidden(
                    f"suggestion {suggestion_id} was not handed over to be measured; no run is taken for it"
                )
            return
        if holder is None:
            raise Forbidden(f"nobody has claimed suggestion {suggestion_id}; claim it before you measure it")
        if holder != by:
            raise Forbidden(
                f"suggestion {suggestion_id} was claimed with the key {holder!r}, and only that one may post its run"
            )

    return check


async def past_run(archive: Archive, uid: str) -> Run:
    """Return a run from the spool or the catalogue.

    Raises
    ------
    NotFound
        Neither has it.
    BackendUnavailable
        The catalogue cannot be asked now.
    """
    documents = await archive.documents(uid)
    if not any(name == "start" for name, _ in documents):
        raise NotFound(f"there is no run {uid} in the catalogue")
    return await asyncio.to_thread(Run.from_documents, documents)  # of a long one it takes long
