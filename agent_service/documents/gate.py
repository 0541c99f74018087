"""The document gate before the spool and all listeners: each document once, in order, and no incomplete run unnoticed.

A RunEngine of this process loses and repeats nothing. A broker may give documents twice, in another order or not at
all, and two sources may give the same run. So a document from elsewhere waits here for those that it refers to, and a
stop document for all events that its ``num_events`` counts. Meanwhile the run is suspect: documents of
`Origin.CATALOGUE` complete it, or it is given up, and `Run.missing` says what it lacks. A run is whole by numbers: a
document after its end, also an event measured again after a pause, counts as a repetition.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from agent_service.documents.counts import EventCounts, is_number
from agent_service.documents.origin import Origin
from agent_service.documents.run_of_document import PARTS, Routed, RunParts, suggestion_of
from agent_service.documents.single_documents import identities, singles, unknown_datum
from agent_service.documents.waiting_documents import Held, Stored, WaitingDocuments
from agent_service.errors.texts import describe

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from agent_service.protocols import Document

MAX_OPEN_RUNS: Final = 10_000
"""Most runs that are open at a time; one whose stop document never came is forgotten for one more."""

MAX_ENDED_RUNS: Final = 10_000
"""Most runs that are remembered after their end, so that what comes of them again is known for a repetition."""

SETTLES_S: Final = 5.0
"""How long nothing comes of a run before its end counts, where its documents came in another order than their own,
nothing came of data that are in files by a descriptor, or its end has no ``num_events``: a broker gives those again
that nobody acknowledged, and no number says how many resources a run has."""

_log = logging.getLogger(__name__)


class Passed(NamedTuple):
    """A document that has passed with its run, None for a repetition; and what to call once it is on disk."""

    routed: Routed | None
    stored: Stored = None


class Suspect(NamedTuple):
    """A run not whole though its end was seen: what it lacks, since when (monotonic), and for which suggestion."""

    reason: str
    since: float
    suggestion_id: str


@dataclass(slots=True)
class _Run:
    uid: str
    here: bool
    heard_at: float
    start: Document | None = None
    counts: EventCounts = field(default_factory=EventCounts)
    seen: set[Hashable] = field(default_factory=set["Hashable"])
    stops: list[Held] = field(default_factory=list[Held])
    given_up: bool = False
    unsettled: bool = False
    was_quiet: bool = False
    catalogued: bool = False

    def settles(self, stop: Document) -> bool:
        """Return whether something may come that no number counts.

        It came in any order, nothing came of files that it has, or its end says no numbers.
        """
        numbered = isinstance(stop.get("num_events"), Mapping)
        return self.unsettled or bool(self.counts.without_files) or not (numbered or self.was_quiet)

    def hear(self, held: Held) -> None:
        """Note when something of it came; an end that comes again while it waits, as by NATS, is no news."""
        if held.name != "stop" or all(stop.document.get("uid") != held.document.get("uid") for stop in self.stops):
            self.heard_at = max(self.heard_at, held.since)

    def suspect(self, earlier: Suspect | None) -> Suspect:
        """Return what it lacks by its stop document, since when it was first seen to."""
        stop = self.stops[0]
        missing = "its start document" if self.start is None else self.counts.missing(stop.document, every_stream=True)
        since = stop.since if earlier is None else earlier.since
        return Suspect(f"{missing} did not come", since, suggestion_of(self.start or {}))


class DocumentGate:
    """Lets the documents of all sources pass. Used from one thread; never raises for an odd document.

    Examples
    --------
    >>> gate = DocumentGate()
    >>> [passed.routed.run for passed in gate.put("start", {"uid": "a"})]
    ['a']
    >>> list(gate.put("start", {"uid": "a"}))
    [Passed(routed=None, stored=None)]
    """

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._ended: dict[str, None] = {}
        self._parts = RunParts()
        self._waiting = WaitingDocuments()
        self.suspects: dict[str, Suspect] = {}

    def __len__(self) -> int:
        return len(self._runs) + len(self._waiting)

    def is_elsewhere(self, run: str) -> bool:
        """Return whether an open run was first heard from elsewhere."""
        return run in self._runs and not self._runs[run].here

    def has_ended(self, run: str) -> bool:
        """Return whether the end of a run has passed; from any thread."""
        return run in self._ended

    def remember(self, runs: Iterable[str]) -> None:
        """Know runs that ended while an earlier service lived: what comes of them is a repetition."""
        self._ended |= dict.fromkeys(runs)

    def quiet(self, for_s: float) -> list[str]:
        """Return the open runs from elsewhere of which nothing came for a while; from any thread."""
        before = time.monotonic() - for_s
        return [run.uid for run in list(self._runs.values()) if not run.here and run.heard_at <= before]

    def put(
        self, name: str, document: Document, origin: Origin = Origin.HERE, stored: Stored = None
    ) -> Iterator[Passed]:
        """Take a document, and yield what may pass by now: it, what waited for it, both or nothing."""
        try:  # a page from here stays one, for nobody gives a part of it again
            parts = list(singles(name, document, pages=origin is not Origin.HERE))
        except Exception as error:  # noqa: BLE001 - an odd document, of anybody's
            _log.warning("a %s document cannot be read, and was left out: %s", name, describe(error))
            parts = []
        if not parts:  # an empty page, too: a broker would give it again and again
            yield Passed(None, stored)
        last = len(parts) - 1
        now = time.monotonic()
        for place, (kind, single) in enumerate(parts):
            yield from self._pass(Held(kind, single, origin, stored if place == last else None, now))

    def resume(self, documents: Iterable[tuple[str, Document]], origin: Origin = Origin.ELSEWHERE) -> Iterator[Passed]:
        """Take the documents of a run that was open when the service ended, from the spool."""
        for name, document in documents:
            yield from self.put(name, document, origin)
            if origin is Origin.HERE:
                continue
            if name == "start" and (run := self._runs.get(str(document.get("uid")))) is not None:
                run.unsettled = True  # what was on its way when the service ended may come after what comes now

    def settle(self, quiet_s: float = SETTLES_S) -> Iterator[Passed]:
        """Yield the ends of runs of which more may come that no number counts, once nothing of them comes any more."""
        before = time.monotonic() - quiet_s
        for run in list(self._runs.values()):
            if run.stops and run.heard_at <= before and run.settles(run.stops[0].document):
                run.unsettled, run.was_quiet = False, True
                run.counts.without_files.clear()
                stops, run.stops = run.stops, []
                for held in stops:
                    yield from self._pass(held)

    def give_up(self, run: str) -> Iterator[Passed]:
        """Yield what waits of a run that will not become whole, in order; of one without a start nothing passes."""
        gated = self._runs.get(run)
        if gated is None:
            return
        gated.given_up = True
        taken = self._waiting.pop_all()
        for held in taken:
            if held.name in PARTS and self._named_by(held.name, held.document) == run:
                self._parts.add(run, held.document)
        waiting = [held for held in taken if self._named_by(held.name, held.document) == run]
        others = [held for held in taken if self._named_by(held.name, held.document) != run]
        waiting.sort(key=lambda held: (held.name not in PARTS, is_number(held.document.get("seq_num")) or 0))
        waiting += gated.stops
        gated.stops = []
        if gated.start is None:
            _log.warning("run %s is left out: its start document never came, and no catalogue has it", run)
            self._end(gated)
        for held in (*waiting, *others):
            yield from self._pass(held)

    def leave_out_older(self, than_s: float) -> Iterator[Passed]:
        """Leave out documents whose run is unknown still: nobody can say any more whose they are."""
        before = time.monotonic() - than_s
        for held in self._waiting.pop_all():
            if held.since <= before and self._named_by(held.name, held.document) not in self._runs:
                _log.warning("a %s document was left out: nothing of its run came before it", held.name)
                yield Passed(None, held.stored)
            else:
                yield from self._pass(held)

    def _pass(self, held: Held) -> Iterator[Passed]:
        offered = deque([held])
        while offered:
            held = offered.popleft()
            name, document = held.name, held.document
            uid = self._named_by(name, document)
            if uid in self._ended:
                yield Passed(None, held.stored)
                continue
            run = self._runs.get(uid) or self._begun(uid, held)
            if run is None:
                if held.origin is Origin.HERE:
                    yield Passed(Routed(name, document, ""), held.stored)
                else:
                    yield from self._wait(self._lacks(None, held), held)
                continue
            run.hear(held)
            keys = identities(name, document)
            if (keys and run.seen.issuperset(keys)) or (
                (run.catalogued or held.origin is Origin.CATALOGUE) and run.counts.has(name, document)
            ):
                yield Passed(None, held.stored)
                continue
            if held.origin is not Origin.HERE and not run.given_up and (lacks := self._lacks(run, held)) is not None:
                if name == "stop":
                    run.stops.append(held)
                    self.suspects[uid] = run.suspect(self.suspects.get(uid))
                else:
                    yield from self._wait(lacks, held)
                continue
            if name == "stop" and run.settles(document) and not run.given_up and held.origin is Origin.ELSEWHERE:
                run.stops.append(held)
                self.suspects.pop(uid, None)
                continue
            run.seen.update(keys)
            run.catalogued |= held.origin is Origin.CATALOGUE and name == "event"
            released = self._released(run, name, document)
            run.unsettled |= bool(released)
            offered.extend(released)
            stops, run.stops = run.stops, []
            offered.extend(stops)
            yield Passed(Routed(name, document, uid), held.stored)
            if name == "stop":
                self._end(run)

    def _begun(self, uid: str, held: Held) -> _Run | None:
        """Return the run that a document begins: a start document here, anything that names its run elsewhere."""
        if not uid or (held.name != "start" and (held.origin is Origin.HERE or "run_start" not in held.document)):
            return None
        if len(self._runs) >= MAX_OPEN_RUNS:
            oldest = next(iter(self._runs.values()))
            self._waiting.add(("end", oldest.uid), oldest.stops)  # until they are left out
            self._end(oldest)
        run = self._runs[uid] = _Run(uid, held.origin is Origin.HERE, held.since)
        return run

    def _released(self, run: _Run, name: str, document: Document) -> list[Held]:
        """Take a document that passes into account, and return those that waited for it."""
        keys: list[Hashable] = []
        match name:
            case "start":
                run.start = document
                keys = [("start", run.uid)]
            case "descriptor" | "resource" | "stream_resource":
                keys = [self._parts.add(run.uid, document)]
            case "datum":
                keys = [("datum", str(document.get("datum_id")))]
            case _:
                pass
        keys += [("event", run.uid, *lane) for lane in run.counts.add(name, document)]
        return self._waiting.pop(keys)

    def _lacks(self, run: _Run | None, held: Held) -> Hashable | None:
        """Return what has to pass before a document does, None when nothing is missing."""
        if held.name == "start":
            return None
        if run is None:
            return self._parts.unknown(held.document) or ("unknown", held.name)
        if run.start is None:
            return ("start", run.uid)
        if held.name == "stop":
            return run.counts.missing(held.document, every_stream=True) or None
        if held.name == "event" and (datum := unknown_datum(held.document, run.seen)) is not None:
            return ("datum", datum)
        before = run.counts.before(held.name, held.document)
        return self._parts.unknown(held.document) or (None if before is None else ("event", run.uid, *before))

    def _wait(self, key: Hashable, held: Held) -> Iterator[Passed]:
        """Keep a document until what it needs has passed, and yield those that are left out for it."""
        yield from (Passed(None, left_out.stored) for left_out in self._waiting.make_room())
        self._waiting.add(key, [held])

    def _end(self, run: _Run) -> None:
        self._runs.pop(run.uid, None)
        self.suspects.pop(run.uid, None)
        self._ended[run.uid] = None
        while len(self._ended) > MAX_ENDED_RUNS:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            self._parts.forget(oldest)

    def _named_by(self, name: str, document: Document) -> str:
        if name == "start":
            uid = document.get("uid")
            return uid if isinstance(uid, str) else ""
        named = self._parts.run_of(document)
        if not named and name == "resource" and "run_start" not in document and len(self._runs) == 1:
            return next(iter(self._runs))  # old devices leave it out; with one run open there is no doubt
        return named
