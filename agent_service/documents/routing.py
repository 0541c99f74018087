"""Which run a document is of: worked out once, when it comes in, and told to everybody behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent_service.protocols import Document

MAX_OPEN_RUNS: Final = 10_000
"""Most runs that are open at a time; one whose stop document never came is forgotten for one more."""

PARTS: Final = ("descriptor", "resource", "stream_resource")
"""Kinds of documents that others name as where they belong, under the same word."""


class Routed(NamedTuple):
    """A document and the uid of its run, empty where it belongs to no open run."""

    name: str
    document: Document
    run: str


class Routing:
    """The open runs and their parts. Used from one thread; never raises for an odd document."""

    def __init__(self) -> None:
        self._parts: dict[str, set[str]] = {}
        self._run_of_part: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._parts) + len(self._run_of_part)

    def route(self, name: str, document: Document) -> Routed:
        """Return a document with its run. A start document opens its run, a stop document closes it."""
        run = ""
        if name == "start":
            uid = document.get("uid")
            run = self._opened(uid) if isinstance(uid, str) else ""
        elif (found := self._named_by(name, document)) in self._parts:
            run = found
            if name == "stop":
                self._close(run)
            elif name in PARTS:
                part = str(document.get("uid"))
                self._parts[run].add(part)
                self._run_of_part[part] = run
        return Routed(name, document, run)

    def _opened(self, run: str) -> str:
        if run and run not in self._parts:
            if len(self._parts) >= MAX_OPEN_RUNS:
                self._close(next(iter(self._parts)))
            self._parts[run] = set()
        return run

    def _close(self, run: str) -> None:
        for part in self._parts.pop(run):
            self._run_of_part.pop(part, None)

    def _named_by(self, name: str, document: Document) -> str:
        named = next(runs_named(document, self._run_of_part), "")
        if not named and name == "resource" and "run_start" not in document and len(self._parts) == 1:
            return next(iter(self._parts))  # old devices leave it out; with one run open there is no doubt
        return named


def runs_named(document: Document, run_of_part: Mapping[str, str]) -> Iterator[str]:
    """Yield the uid of the run for each place where a document says where it belongs, empty where it is unknown."""
    if "run_start" in document:
        yield str(document["run_start"])
    for key in PARTS:
        if key in document:
            yield run_of_part.get(str(document[key]), "")


def suggestion_of(start: Document) -> str:
    """Return the id of the suggestion that a run is for, by its start document; empty for none."""
    found = start.get("agent_suggestion_uid")
    return found if isinstance(found, str) else ""


def uids_in(name: str, document: Document) -> Iterator[tuple[str, Any]]:
    """Yield path and value of each uid of a document that names a run or a part of one."""
    for key in ("uid", "run_start", *PARTS):
        value: Any = document.get(key)
        if value is None or (key == "uid" and name == "stream_datum"):
            continue
        if isinstance(value, list):
            yield from ((f"{key}.{i}", one) for i, one in enumerate(cast("list[object]", value)))
        else:
            yield key, value
