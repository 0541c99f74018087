"""One run from its documents into the catalogue: whole, once, however often it is tried."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# a boundary: bluesky-tiled-plugins has no types

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bluesky_tiled_plugins.writing.tiled_writer import TiledWriter
from tiled.client.utils import ClientError

from agent_service.archive.nodes import child, delete, is_conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent_service.protocols import Document


def write_run(root: Any, uid: str, documents: Callable[[], Iterable[tuple[str, Document]]]) -> None:
    """Write a complete run.

    Parameters
    ----------
    root
        Tiled's client of the catalogue.
    uid
        The run's.
    documents
        Gives its documents, from the first, each time it is called.

    Raises
    ------
    httpx.HTTPError
        When the catalogue failed or refused it; a part of the run may be there, and the next call replaces it.
    Exception
        Whatever the writer raises at documents it cannot make sense of.
    """
    try:
        _write(root, documents())
    except ClientError as error:
        if not is_conflict(error):
            raise
        if is_written(root, uid):
            return
        delete(root, uid)  # what an earlier, interrupted attempt left
        _write(root, documents())


def is_written(root: Any, uid: str) -> bool:
    """Tell whether the catalogue holds the run with its stop document."""
    node = child(root, uid)
    return node is not None and bool(node.metadata.get("stop"))


def withdraw(root: Any, uid: str) -> None:
    """Delete a run without a stop document, so that it does not pass for one that is being measured."""
    if child(root, uid) is not None and not is_written(root, uid):
        delete(root, uid)


def documents_of(root: Any, uid: str) -> Iterable[tuple[str, Document]]:
    """Return the documents of a run as the catalogue gives them back; none when it is not there or has no stop yet."""
    node = child(root, uid)
    return node.documents() if node is not None and node.metadata.get("stop") else ()


def _write(root: Any, documents: Iterable[tuple[str, Document]]) -> None:
    writer = TiledWriter(root)  # one per attempt: it remembers runs that failed
    for name, doc in documents:
        writer(name, doc)
