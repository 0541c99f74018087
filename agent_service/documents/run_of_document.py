"""Which run a document is of, as it says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent_service.protocols import Document

PARTS: Final = ("descriptor", "resource", "stream_resource")
"""Kinds of documents that others name as where they belong, under the same word."""


class Routed(NamedTuple):
    """A document and the uid of its run, empty where it belongs to no open run."""

    name: str
    document: Document
    run: str


class RunParts:
    """Which run each descriptor and resource that has passed is of."""

    def __init__(self) -> None:
        self._run_of: dict[str, str] = {}
        self._parts_of: dict[str, list[str]] = {}

    def add(self, run: str, document: Document) -> str:
        """Know a descriptor or a resource as one of ``run``, and return its uid."""
        part = str(document.get("uid"))
        self._parts_of.setdefault(run, []).append(part)
        self._run_of[part] = run
        return part

    def run_of(self, document: Document) -> str:
        """Return the uid of the run that a document names, itself or by a part; empty where it is unknown."""
        return next(runs_named(document, self._run_of), "")

    def unknown(self, document: Document) -> str | None:
        """Return the first descriptor or resource that a document names and that is of no run yet."""
        for key in PARTS:
            if key in document and (part := str(document[key])) not in self._run_of:
                return part
        return None

    def forget(self, run: str) -> None:
        """Forget the parts of a run."""
        for part in self._parts_of.pop(run, ()):
            self._run_of.pop(part, None)


def runs_named(document: Document, run_of_part: Mapping[str, str]) -> Iterator[str]:
    """Yield the uid of the run for each place where a document says where it belongs, empty where it is unknown."""
    if "run_start" in document:
        yield str(document["run_start"])
    for key in PARTS:
        if key in document:
            yield run_of_part.get(str(document[key]), "")


def suggestion_of(start: Document) -> str:
    """Return the id of the suggestion that a run is for, by its start document; empty for none."""
    suggestion_id = start.get("agent_suggestion_uid")
    return suggestion_id if isinstance(suggestion_id, str) else ""


def uids_in(name: str, document: Document) -> Iterator[tuple[str, Any]]:
    """Yield path and value of each uid of a document that names a run or a part of one."""
    for key in ("uid", "run_start", *PARTS):
        value: Any = document.get(key)
        if value is None or (key == "uid" and name == "stream_datum"):
            continue
        if isinstance(value, list):
            yield from ((f"{key}.{i}", uid) for i, uid in enumerate(cast("list[object]", value)))
        else:
            yield key, value
