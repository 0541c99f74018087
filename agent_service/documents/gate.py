"""The document gate before the spool and all who listen: each document once, in order, and no run quietly short.

A RunEngine of this process loses and repeats nothing. A broker does: it may give documents twice, in another order or
not at all, and two sources may give the same run. So a document from elsewhere waits here for those it builds upon, and
a stop document for all the events that its ``num_events`` counts. While it waits the run is suspect: documents of
`Origin.CATALOGUE` complete it, or it is given up, and then `Run.missing` says what it lacks. A run is whole by numbers:
what comes after its end, an event measured again after a pause too, is taken for a repetition.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from agent_service.documents.counts import EventCounts, is_number
from agent_service.documents.routing import PARTS, Routed, runs_named, suggestion_of
from agent_service.documents.singles import identities, singles, unknown_datum

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from agent_service.protocols import Document

    Stored = Callable[[], None] | None

MAX_OPEN_RUNS: Final = 10_000
"""Most runs that are open at a time; one whose stop document never came is forgotten for one more."""

MAX_ENDED_RUNS: Final = 10_000
"""Most runs that are remembered after their end, so that what comes of them again is known for a repetition."""

MAX_WAITING: Final = 50_000
"""Most documents that wait for others; those that have waited longest are left out for more."""

SETTLES_S: Final = 5.0
"""How long nothing comes of a run before its end counts, where its documents came in another order than their own: a
broker gives those again that nobody acknowledged, and no number says how many resources a run has."""

_log = logging.getLogger(__name__)


class Origin(Enum):
    """Where a document comes from, and so what may be wrong with it."""

    HERE = "here"
    """A RunEngine of this process, or whoever posts: in order."""
    ELSEWHERE = "elsewhere"
    """A broker: in any order, more than once, or not at all."""
    CATALOGUE = "catalogue"
    """A catalogue, which gives events uids of its own and each number once."""


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
class _Held:
    name: str
    document: Document
    origin: Origin
    stored: Stored
    since: float


@dataclass(slots=True)
class _Run:
    uid: str
    here: bool
    heard_at: float
    start: Document | None = None
    counts: EventCounts = field(default_factory=EventCounts)
    seen: set[Hashable] = field(default_factory=set["Hashable"])
    parts: list[str] = field(default_factory=list[str])
    stops: list[_Held] = field(default_factory=list["_Held"])
    given_up: bool = False
    unsettled: bool = False
    catalogued: bool = False


class DocumentGate:
    """Lets the documents of all sources pass. Used from one thread; never raises for an odd document.

    Examples
    --------
    >>> gate = DocumentGate()
    >>> [passed.routed.run for passed in gate.take("start", {"uid": "a"})]
    ['a']
    >>> list(gate.take("start", {"uid": "a"}))
    [Passed(routed=None, stored=None)]
    """

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._ended: dict[str, list[str]] = {}
        self._run_of_part: dict[str, str] = {}
        self._waiting: dict[Hashable, list[_Held]] = {}
        self._waiting_count = 0
        self.suspects: dict[str, Suspect] = {}

    def __len__(self) -> int:
        return len(self._runs) + self._waiting_count

    def is_elsewhere(self, run: str) -> bool:
        """Return whether an open run was first heard from elsewhere."""
        return run in self._runs and not self._runs[run].here

    def has_ended(self, run: str) -> bool:
        """Return whether the end of a run has passed; from any thread."""
        return run in self._ended

    def remember(self, runs: Iterable[str]) -> None:
        """Know runs that ended while an earlier service lived: what comes of them is a repetition."""
        self._ended |= {run: [] for run in runs}

    def quiet(self, for_s: float) -> list[str]:
        """Return the open runs from elsewhere of which nothing came for a while; from any thread."""
        before = time.monotonic() - for_s
        return [run.uid for run in list(self._runs.values()) if not run.here and run.heard_at <= before]

    def take(
        self, name: str, document: Document, origin: Origin = Origin.HERE, stored: Stored = None
    ) -> Iterator[Passed]:
        """Take a document, and yield what may pass by now: it, what waited for it, both or nothing."""
        # a page from here stays one, for nobody gives a part of it again
        parts = list(singles(name, document, pages=origin is not Origin.HERE))
        last = len(parts) - 1
        now = time.monotonic()
        for place, (kind, single) in enumerate(parts):
            yield from self._pass(_Held(kind, single, origin, stored if place == last else None, now))

    def resume(self, documents: Iterable[tuple[str, Document]], origin: Origin = Origin.ELSEWHERE) -> Iterator[Passed]:
        """Take the documents of a run that was open when the service ended, from the spool."""
        for name, document in documents:
            yield from self.take(name, document, origin)
            if origin is Origin.HERE:
                continue
            if name == "start" and (run := self._runs.get(str(document.get("uid")))) is not None:
                run.unsettled = True  # what was on its way when the service ended may come after what comes now

    def settle(self, quiet_s: float = SETTLES_S) -> Iterator[Passed]:
        """Yield the ends of runs that came in any order, once nothing of them comes any more."""
        before = time.monotonic() - quiet_s
        for run in [run for run in self._runs.values() if run.stops and run.unsettled and run.heard_at <= before]:
            run.unsettled = False
            stops, run.stops = run.stops, []
            for held in stops:
                yield from self._pass(held)

    def give_up(self, run: str) -> Iterator[Passed]:
        """Yield what waits of a run that will not become whole, in order; of one without a start nothing passes."""
        found = self._runs.get(run)
        if found is None:
            return
        found.given_up = True
        taken = self._take_waiting()
        for held in taken:
            if held.name in PARTS and self._named_by(held.name, held.document) == run:
                self._add_part(found, held.document)
        waiting = [held for held in taken if self._named_by(held.name, held.document) == run]
        others = [held for held in taken if self._named_by(held.name, held.document) != run]
        waiting.sort(key=lambda held: (held.name not in PARTS, is_number(held.document.get("seq_num")) or 0))
        waiting += found.stops
        found.stops = []
        if found.start is None:
            _log.warning("run %s is left out: its start document never came, and no catalogue has it", run)
            self._end(found)
        for held in (*waiting, *others):
            yield from self._pass(held)

    def leave_out_older(self, than_s: float) -> Iterator[Passed]:
        """Leave out documents whose run is unknown still: nobody can say any more whose they are."""
        before = time.monotonic() - than_s
        waiting = list(self._take_waiting())
        for held in waiting:
            if held.since <= before and self._named_by(held.name, held.document) not in self._runs:
                _log.warning("a %s document was left out: nothing of its run came before it", held.name)
                yield Passed(None, held.stored)
            else:
                yield from self._pass(held)

    def _take_waiting(self) -> list[_Held]:
        taken = [held for waiting in self._waiting.values() for held in waiting]
        self._waiting.clear()
        self._waiting_count = 0
        return taken

    def _pass(self, held: _Held) -> Iterator[Passed]:
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
                    yield from self._wait(held, self._lacks(None, held))
                continue
            self._heard(run, held)
            keys = identities(name, document)
            if (keys and run.seen.issuperset(keys)) or (
                (run.catalogued or held.origin is Origin.CATALOGUE) and run.counts.has(name, document)
            ):
                yield Passed(None, held.stored)
                continue
            if held.origin is not Origin.HERE and not run.given_up and (lacks := self._lacks(run, held)) is not None:
                if name == "stop":
                    run.stops.append(held)
                    self._suspect(run)
                else:
                    yield from self._wait(held, lacks)
                continue
            if name == "stop" and run.unsettled and not run.given_up and held.origin is Origin.ELSEWHERE:
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

    @staticmethod
    def _heard(run: _Run, held: _Held) -> None:
        """Note when something of a run came; an end that comes again while it waits, as by NATS, is no news."""
        if held.name != "stop" or all(stop.document.get("uid") != held.document.get("uid") for stop in run.stops):
            run.heard_at = max(run.heard_at, held.since)

    def _begun(self, uid: str, held: _Held) -> _Run | None:
        """Return the run that a document begins: a start document here, anything that names its run elsewhere."""
        if not uid or (held.name != "start" and (held.origin is Origin.HERE or "run_start" not in held.document)):
            return None
        if len(self._runs) >= MAX_OPEN_RUNS:
            oldest = next(iter(self._runs.values()))
            self._waiting.setdefault(("end", oldest.uid), []).extend(oldest.stops)  # until they are left out
            self._waiting_count += len(oldest.stops)
            self._end(oldest)
        run = self._runs[uid] = _Run(uid, held.origin is Origin.HERE, held.since)
        return run

    def _released(self, run: _Run, name: str, document: Document) -> list[_Held]:
        """Take a document that passes into account, and return those that waited for it."""
        keys: list[Hashable] = []
        match name:
            case "start":
                run.start = document
                keys = [("start", run.uid)]
            case "descriptor" | "resource" | "stream_resource":
                keys = [self._add_part(run, document)]
            case "datum":
                keys = [("datum", str(document.get("datum_id")))]
            case _:
                pass
        keys += [("event", run.uid, *lane) for lane in run.counts.add(name, document)]
        released = [held for key in keys for held in self._waiting.pop(key, ())]
        self._waiting_count -= len(released)
        return released

    def _add_part(self, run: _Run, document: Document) -> str:
        part = str(document.get("uid"))
        run.parts.append(part)
        self._run_of_part[part] = run.uid
        return part

    def _lacks(self, run: _Run | None, held: _Held) -> Hashable | None:
        """Return what has to pass before a document does, None when nothing is missing."""
        if held.name == "start":
            return None
        if run is None:
            return self._unknown_part(held.document) or ("unknown", held.name)
        if run.start is None:
            return ("start", run.uid)
        if held.name == "stop":
            return run.counts.missing(held.document, every_stream=True) or None
        if held.name == "event" and (datum := unknown_datum(held.document, run.seen)) is not None:
            return ("datum", datum)
        before = run.counts.before(held.name, held.document)
        return self._unknown_part(held.document) or (None if before is None else ("event", run.uid, *before))

    def _unknown_part(self, document: Document) -> str | None:
        """Return the first descriptor or resource that a document names and that did not pass yet."""
        for key in PARTS:
            if key in document and (part := str(document[key])) not in self._run_of_part:
                return part
        return None

    def _wait(self, held: _Held, key: Hashable) -> Iterator[Passed]:
        """Keep a document until what it needs has passed, and yield those that are left out for it."""
        if self._waiting_count >= MAX_WAITING:
            _log.warning("more than %d documents wait for others: the first of them are left out", MAX_WAITING)
            left_out = self._waiting.pop(next(iter(self._waiting)))
            self._waiting_count -= len(left_out)
            yield from (Passed(None, one.stored) for one in left_out)
        self._waiting.setdefault(key, []).append(held)
        self._waiting_count += 1

    def _suspect(self, run: _Run) -> None:
        stop = run.stops[0]
        missing = "its start document" if run.start is None else run.counts.missing(stop.document, every_stream=True)
        since = self.suspects[run.uid].since if run.uid in self.suspects else stop.since
        self.suspects[run.uid] = Suspect(f"{missing} did not come", since, suggestion_of(run.start or {}))

    def _end(self, run: _Run) -> None:
        self._runs.pop(run.uid, None)
        self.suspects.pop(run.uid, None)
        self._ended[run.uid] = run.parts
        while len(self._ended) > MAX_ENDED_RUNS:
            oldest = next(iter(self._ended))
            for part in self._ended.pop(oldest):
                self._run_of_part.pop(part, None)

    def _named_by(self, name: str, document: Document) -> str:
        if name == "start":
            uid = document.get("uid")
            return uid if isinstance(uid, str) else ""
        named = next(runs_named(document, self._run_of_part), "")
        if not named and name == "resource" and "run_start" not in document and len(self._runs) == 1:
            return next(iter(self._runs))  # old devices leave it out; with one run open there is no doubt
        return named
