"""What passes between the service and an agent's process: frames of a kind and a payload, and errors.

A frame is a header (payload length and kind) and the payload; what the payload is, its kind says.
"""

from __future__ import annotations

import pickle
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from agent_service.errors import AgentFault, FieldError, ServiceError, by_code

if TYPE_CHECKING:
    import socket

MAX_PAYLOAD: Final = 1 << 30
"""Largest payload in bytes; what is larger is refused where it is sent, and ends the connection where it is read."""

_HEADER: Final = struct.Struct("<QB")


class Kind(IntEnum):
    """What a frame says."""

    SETTINGS = 1
    """To the child, once: pickled `Settings`."""
    BUILD = 2
    """To the child, once: a function pickled by cloudpickle that makes the object."""
    CALL = 3
    """To the child: pickled ``(method, args)``."""
    HELLO = 4
    """From the child, once: its process id as text."""
    RESULT = 5
    """From the child: what the call returned, pickled by cloudpickle."""
    ERROR = 6
    """From the child: what it raised, as `packed_error` has it."""
    NOTICES = 7
    """From the child: a pickled list of what the agent's code told, see `notices`."""


def frame(kind: Kind, payload: bytes) -> bytes:
    """Return a frame as bytes."""
    return _HEADER.pack(len(payload), kind) + payload


class FrameReader:
    """Puts frames together from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> list[tuple[Kind, bytes]]:
        """Take a piece, and return the frames that are complete by now; `ValueError` when it is no frame."""
        self._buffer += piece
        frames: list[tuple[Kind, bytes]] = []
        while len(self._buffer) >= _HEADER.size:
            size, kind = _checked(self._buffer)
            end = _HEADER.size + size
            if len(self._buffer) < end:
                break
            frames.append((kind, bytes(self._buffer[_HEADER.size : end])))
            del self._buffer[:end]
        return frames


def read(connection: socket.socket) -> tuple[Kind, bytes] | None:
    """Return the next frame of a blocking socket, None at its end."""
    header = _exactly(connection, _HEADER.size)
    if header is None:
        return None
    size, kind = _checked(header)
    payload = _exactly(connection, size)
    return None if payload is None else (kind, bytes(payload))


def packed_error(error: ServiceError) -> bytes:
    """Return an error of ours as bytes; it is pickled as plain values, so that no class need be known elsewhere."""
    fields = [(wrong.field, wrong.message) for wrong in error.errors]
    trace, died = (error.traceback, error.died) if isinstance(error, AgentFault) else (None, False)
    return pickle.dumps((error.code, error.status, error.detail, fields, error.legal, trace, died))


def unpacked_error(payload: bytes) -> ServiceError:
    """Return the error that `packed_error` packed, as the nearest class of the error tree."""
    code, status, detail, fields, legal, trace, died = pickle.loads(payload)  # noqa: S301 - plain values of a child of ours
    cls = by_code(code, status)
    errors = [FieldError(field, message) for field, message in fields]
    if cls is AgentFault:
        return AgentFault(detail, traceback=trace, died=died, errors=errors, legal=legal)
    return cls(detail, errors=errors, legal=legal)


def _checked(header: bytearray) -> tuple[int, Kind]:
    size, kind = _HEADER.unpack_from(header)
    if size > MAX_PAYLOAD:
        raise ValueError(f"a frame of {size} bytes is larger than {MAX_PAYLOAD}")
    return size, Kind(kind)


def _exactly(connection: socket.socket, size: int) -> bytearray | None:
    payload = bytearray(size)
    view, received = memoryview(payload), 0
    while received < size:
        count = connection.recv_into(view[received:])
        if count == 0:
            return None
        received += count
    return payload
