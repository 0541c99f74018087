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
