"""Nodes of a Tiled catalogue: found, made once, deleted; and which of its errors will not pass by themselves."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: tiled has no types

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

import httpx
from tiled.client.container import Container
from tiled.client.utils import ClientError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONFLICT: Final = 409
_TRANSIENT: Final = frozenset({401, 403, 404, 408, 425, 429, 502, 503, 504})
"""Answers that say nothing about what was sent: a key being changed, a server or its proxy not ready."""


def child(parent: Any, key: str) -> Any | None:
    """Return what is at ``key``, or None.

    Not ``parent[key]``: a catalogue of runs takes a key for the beginning of a uid.
    """
    try:
        return Container.__getitem__(parent, key)
    except KeyError:
        return None


def child_or_new(parent: Any, key: str, *, metadata: dict[str, Any], specs: Sequence[Any]) -> Any:
    """Return the container at ``key``, made now unless it is there."""
    try:
        return parent.create_container(key=key, metadata=metadata, specs=list(specs))
    except ClientError as error:
        node = child(parent, key) if is_conflict(error) else None
        if node is None:
            raise
        return node


def delete(parent: Any, key: str) -> None:
    """Delete what is at ``key``, with all below it; files that a detector wrote are never touched."""
    parent.delete_contents(key, recursive=True, external_only=False)


def is_conflict(error: Exception) -> bool:
    """Tell whether the catalogue has that key already."""
    return isinstance(error, ClientError) and error.response.status_code == _CONFLICT


def is_refusal(error: Exception) -> bool:
    """Tell whether the catalogue said that it will not take what was sent, however often it is sent."""
    if not isinstance(error, httpx.HTTPStatusError):
        return False
    return error.response.is_client_error and error.response.status_code not in _TRANSIENT


def run_uid_part(run: str, part: str) -> str:
    """Return a uid for a document of a run, the same each time."""
    return str(uuid.uuid5(uuid.UUID(run), part))
