"""A document as one line of JSON, ``[name, document]``, and back; and lines at the end of a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.protocols import Document


def encode(name: str, doc: Document) -> str:
    """Return a document as one line of JSON, without the newline.

    Numpy scalars and arrays become numbers and nested lists; NaN and infinities are kept, as Python's json spells them.
    What JSON cannot say at all becomes its text, so that one odd value never costs a run.
    """
    try:
        return json.dumps([name, doc], default=_plain, separators=(",", ":"))
    except (TypeError, ValueError):
        return json.dumps([name, _with_text_keys(doc)], default=_plain, separators=(",", ":"))


def decode(line: bytes) -> tuple[str, Document] | None:
    """Return the name and the document of a line, None when it is not whole or no document."""
    if not line.endswith(b"\n"):
        return None
    try:
        pair: Any = json.loads(line)
    except ValueError:
        return None
    match pair:
        case [str() as name, dict()]:
            return name, cast("Document", pair[1])
        case _:
            return None


def append(path: Path, line: str) -> None:
    """Put a line at the end of a file, whole or not at all; `OSError` when the disk does not take it."""
    handle = private_files.open_to_append(path)
    try:
        size = os.fstat(handle).st_size
        rest = memoryview(f"{line}\n".encode())
        try:
            while rest:
                rest = rest[os.write(handle, rest) :]
        except OSError:
            os.ftruncate(handle, size)  # half a line would spoil the next one
            raise
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Wait until the disk has what was written to a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value: object) -> object:
    """Make of ``value`` something JSON can say; json calls it for what it does not know."""
    to_list = getattr(value, "tolist", None)  # numpy's, for scalars too
    if callable(to_list):
        return to_list()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if isinstance(value, set | frozenset):
        return sorted(cast("set[object]", value), key=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _with_text_keys(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_with_text_keys(item) for item in cast("list[object]", value)]
    return value
