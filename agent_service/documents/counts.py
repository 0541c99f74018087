"""How many events of each stream of a run there are without a gap, and how many are missing by its stop document."""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Mapping
from operator import index
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent_service.protocols import Document

_EVENTS: Final = ""
"""The lane of a stream that holds its events; the others hold the data of files, one for each key."""


class EventCounts:
    """Counts a run's events as they come; those of a page, and those that are in files, too.

    Examples
    --------
    >>> counts = EventCounts()
    >>> counts.add("descriptor", {"uid": "d", "name": "primary"})
    []
    >>> counts.add("event", {"descriptor": "d", "seq_num": 1})
    [('primary', '', 1)]
    >>> counts.missing({"num_events": {"primary": 3}})
    '2 of 3 events of stream primary'
    """

    def __init__(self) -> None:
        self._streams: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._beyond: dict[tuple[str, str], list[tuple[int, int]]] = {}  # first and last number of what is behind a gap
        self.without_files: set[tuple[str, str]] = set()
        """Stream and key of what is in files by its descriptor, and of which nothing came."""

    def add(self, name: str, document: Document) -> list[tuple[str, str, int]]:
        """Count a document, and return stream, lane and the number up to which there is no gap, if that changed."""
        if name == "descriptor":
            stream = self._streams.setdefault(str(document.get("uid")), str(document.get("name", "primary")))
            keys = _mapping(document.get("data_keys"))
            self.without_files |= {(stream, key) for key, data_key in keys.items() if "external" in _mapping(data_key)}
        elif name == "stream_resource":
            self._files[str(document.get("uid"))] = str(document.get("data_key"))
        if self.without_files:
            self.without_files -= self._filled(name, document)
        reached: list[tuple[str, str, int]] = []
        for lane, first, last in self._numbers(name, document):
            if first > self._last.get(lane, 0) + 1:
                insort(self._beyond.setdefault(lane, []), (first, last))
                continue
            if last > self._last.get(lane, 0):
                self._last[lane] = last
                self._close_gap(lane)
                reached.append((*lane, self._last[lane]))
        return reached

    def _close_gap(self, lane: tuple[str, str]) -> None:
        """Count what was behind a gap and is no more."""
        beyond, number = self._beyond.get(lane, []), 0
        for first, last in beyond:
            if first > self._last[lane] + 1:
                break
            self._last[lane] = max(self._last[lane], last)
            number += 1
        del beyond[:number]

    def before(self, name: str, document: Document) -> tuple[str, str, int] | None:
        """Return stream, lane and number of what should come before a document and did not; None: nothing."""
        for lane, first, _ in self._numbers(name, document):
            if first > self._last.get(lane, 0) + 1:
                return (*lane, first - 1)
        return None

    def has(self, name: str, document: Document) -> bool:
        """Return whether everything that a document numbers was counted before."""
        numbers = list(self._numbers(name, document))
        return bool(numbers) and all(last <= self._last.get(lane, 0) for lane, _, last in numbers)

    def missing(self, stop: Document, *, every_stream: bool = False) -> str:
        """Return in words what is missing by a stop document's ``num_events``; empty for nothing.

        A stream without events, of which nothing is there, is missing only where every stream is asked for.
        """
        lacks: list[str] = []
        for stream, number in _mapping(stop.get("num_events")).items():
            count = is_number(number) or 0
            if stream not in self._streams.values() and (count or every_stream):
                lacks.append(
                    f"all {count} events of stream {stream}" if count else f"the descriptor of stream {stream}"
                )
            elif (there := self._there(stream)) < count:
                lacks.append(f"{count - there} of {count} events of stream {stream}")
        for (stream, _), beyond in self._beyond.items():
            if beyond and not lacks:
                lacks.append(f"an event of stream {stream}")
        return ", ".join(lacks)

    def _there(self, stream: str) -> int:
        """Return how many events there are; where files hold some of the keys, as many as each has."""
        lanes = {lane for lane in (*self._last, *self._beyond) if lane[0] == stream}
        return min((self._last.get(lane, 0) + _length(self._beyond.get(lane, ())) for lane in lanes), default=0)

    def _filled(self, name: str, document: Document) -> set[tuple[str, str]]:
        """Return stream and key of what a document says of data that are in files."""
        stream = self._streams.get(str(document.get("descriptor")), "")
        if name == "stream_datum":
            return {(stream, self._files.get(str(document.get("stream_resource")), ""))}
        return {(stream, key) for key in _mapping(document.get("data"))}

    def _numbers(self, name: str, document: Document) -> Iterator[tuple[tuple[str, str], int, int]]:
        """Yield lane, first and last number of what a document holds; nothing for an odd one."""
        stream = self._streams.get(str(document.get("descriptor")))
        if stream is None:
            return
        if name == "stream_datum":
            numbers = _mapping(document.get("seq_nums"))
            first, end = is_number(numbers.get("start")), is_number(numbers.get("stop"))
            if first and end and first < end:
                yield (stream, self._files.get(str(document.get("stream_resource")), "?")), first, end - 1
        elif name in ("event", "event_page"):
            given: list[Any] = [document.get("seq_num")]
            for seq_num in given[0] if name == "event_page" and _is_column(given[0]) else given:
                if number := is_number(seq_num):
                    yield (stream, _EVENTS), number, number


def is_number(value: object) -> int | None:
    """Return a whole number from 1 on, as an event has; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        number = index(cast("Any", value))
    except TypeError:  # an array of several, too
        return None
    return number if number > 0 else None


def _length(ranges: Iterable[tuple[int, int]]) -> int:
    """Return how many numbers there are in ranges in order, each once."""
    count = upto = 0
    for first, last in ranges:
        count += max(0, last - max(first - 1, upto))
        upto = max(upto, last)
    return count


def _mapping(value: object) -> Mapping[str, Any]:
    """Return a part of a document, empty where an odd document has something else there."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _is_column(value: object) -> bool:
    """Return whether a part of a page holds several values; an array of no dimension does not."""
    return isinstance(value, Collection) and bool(getattr(cast("object", value), "shape", True))
