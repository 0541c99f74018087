"""One run from its documents into the catalogue: whole, once, however often it is tried."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# a boundary: bluesky-tiled-plugins has no types

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any, Final

from bluesky_tiled_plugins.writing.tiled_writer import TiledWriter
from tiled.client.utils import ClientError

from agent_service.archive.catalog import AGENTS
from agent_service.archive.restored_documents import restored
from agent_service.archive.run_schema import RunSchema
from agent_service.archive.stored_documents import stored
from agent_service.archive.tiled_nodes import child, delete, is_conflict

_UID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from agent_service.protocols import Document


class NotOursError(Exception):
    """A part of a run is in the catalogue that this service did not write: somebody else writes it, or left it."""


def write_run(
    root: Any,
    uid: str,
    documents: Callable[[], Iterable[tuple[str, Document]]],
    *,
    files: Path | None = None,
    mark: Path | None = None,
) -> None:
    """Write a complete run, which ``documents`` gives from the first each time it is called.

    Raises what the catalogue answers (a part of the run may be there; the next call replaces it), `ValueError` when
    the run is not whole or no catalogue takes its uid, and whatever the writer raises at documents it cannot make sense
    of. ``files`` is where a catalogue on this machine keeps arrays: one that is killed leaves files there that no node
    knows, and makes none in their place. ``mark`` is for a catalogue that others write too: a file that is made right
    before this service begins the run there. Without it what is there is theirs: `NotOursError` unless it is whole,
    and nothing of it is touched.
    """
    if not is_run_uid(uid):
        msg = f"{uid!r} cannot be the uid of a run: letters, digits, '-', '_' and '.' can, up to 100"
        raise ValueError(msg)
    first = mark is not None and not mark.exists()
    if _is_there(root, uid, files, first=first):
        return
    if mark is not None:
        mark.touch(mode=0o600)
    schema = RunSchema(documents())
    begun: list[str] = []

    def write() -> None:
        writer = TiledWriter(root, max_array_size=0)  # one per attempt: it remembers runs that failed
        for name, doc in stored(documents(), schema):
            writer(name, doc)
            begun.append(name)

    try:
        write()
    except ClientError as error:
        if not is_conflict(error):
            raise
        if mark is not None and first and not begun:  # somebody else began it since we looked
            mark.unlink()
            _is_theirs(root, uid)
        elif not is_written(root, uid):
            delete(root, uid)  # what an earlier, interrupted attempt left
            write()


def _is_there(root: Any, uid: str, files: Path | None, *, first: bool) -> bool:
    """Return whether a run is in the catalogue; delete the files of one of ours that is not."""
    if files is not None and (files / uid).exists():
        if is_written(root, uid):
            return True
        withdraw(root, uid)
        shutil.rmtree(files / uid, ignore_errors=True)
    return first and _is_theirs(root, uid)


def _is_theirs(root: Any, uid: str) -> bool:
    """Return whether somebody else wrote the run; raises `NotOursError` when it is there and not whole."""
    if child(root, uid) is None:
        return False
    if not is_written(root, uid):
        msg = f"run {uid} is in the catalogue without its end, and this service did not write it; it is left alone"
        raise NotOursError(msg)
    return True


def is_run_uid(uid: str) -> bool:
    """Tell whether a uid can be a key in the catalogue: it becomes a part of an address there."""
    return bool(_UID.fullmatch(uid)) and uid != AGENTS


def is_written(root: Any, uid: str) -> bool:
    """Tell whether the catalogue holds the run with its stop document."""
    node = child(root, uid) if is_run_uid(uid) else None
    return node is not None and bool(node.metadata.get("stop"))


def withdraw(root: Any, uid: str) -> None:
    """Delete a run without a stop document, so that it does not pass for one that is being measured."""
    if is_run_uid(uid) and child(root, uid) is not None and not is_written(root, uid):
        delete(root, uid)


def documents_of(root: Any, uid: str) -> Iterable[tuple[str, Document]]:
    """Return the documents of a run as they were measured; none when it is not there or has no stop yet."""
    node = child(root, uid) if is_run_uid(uid) else None
    return restored(node.documents()) if node is not None and node.metadata.get("stop") else ()
