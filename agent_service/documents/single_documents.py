"""A document as single ones, by what each is known again, and what it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from agent_service.documents.document_copies import unpack_bulk
from agent_service.documents.runs import events_of_page, part_of

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Iterator

    from agent_service.protocols import Document


def singles(name: str, document: Document, *, pages: bool) -> Iterator[tuple[str, Document]]:
    """Yield a document as single ones; ``pages`` says whether a page becomes several, too."""
    if pages and name == "event_page":
        yield from (("event", event) for event in events_of_page(document))
    elif pages and name == "datum_page":
        columns: dict[str, Any] = document.get("datum_kwargs") or {}
        for place, datum_id in enumerate(document.get("datum_id") or ()):
            kwargs = {key: values[place] for key, values in columns.items()}
            yield "datum", {"resource": document.get("resource"), "datum_id": datum_id, "datum_kwargs": kwargs}
    else:
        yield from unpack_bulk(name, document)


def identities(name: str, document: Document) -> list[Hashable]:
    """Return by what a document is known again; nothing for an odd one."""
    if name in ("datum", "datum_page"):
        datum_ids = document.get("datum_id")
        ids = cast("list[object]", datum_ids) if isinstance(datum_ids, list) else [datum_ids]
        return [("datum", str(datum_id)) for datum_id in ids]
    uid = document.get("uid")
    if isinstance(uid, list):
        return [("event", str(event_uid)) for event_uid in cast("list[object]", uid)]
    return [(name, uid)] if isinstance(uid, str) else []


def unknown_datum(event: Document, seen: Container[Hashable]) -> str | None:
    """Return the first datum that an event names and that did not pass yet."""
    for key, filled in part_of(event, "filled").items():
        datum = part_of(event, "data").get(key)
        if filled is False and isinstance(datum, str) and ("datum", datum) not in seen:
            return datum
    return None
