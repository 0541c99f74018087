"""What passes between the service and its RunEngine's process: lists of messages, tuples that begin with their kind.

A frame is a head, the sizes of its buffers, a pickle (protocol 5) and those buffers, such as images. What the child
sends is of plain values, numpy's and ours; nothing else is loaded from it. A frame that cannot be read, and a message
that its hearer fails on, are logged, and those behind them are heard.
"""

from __future__ import annotations

import asyncio
import io
import logging
import pickle
import struct
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Message = tuple[Any, ...]

_HEAD: Final = struct.Struct("<QII")
"""How long the frame is with its head, how long its pickle, and how many buffers it has."""

_log = logging.getLogger(__name__)

_OUT_OF_BAND: Final = 1 << 14
"""Bytes from which on a buffer travels beside the pickle."""

_PACKAGES: Final = frozenset(
    {"agent_service", "numpy", "datetime", "uuid", "decimal", "fractions", "collections", "copyreg", "zoneinfo"}
)
_BUILTINS: Final = frozenset(
    {"complex", "bytearray", "set", "frozenset", "range", "slice", "object", "int", "float", "str"}
)


def _is_plain(module: str, name: str) -> bool:
    if "." in name:  # pickle would walk along it, out of the module too
        return False
    return name in _BUILTINS if module == "builtins" else module.partition(".")[0] in _PACKAGES


class _Pickler(pickle.Pickler):
    """Pickles messages; a value of somebody else's class becomes its number or its text."""

    def reducer_override(self, obj: Any) -> Any:
        kind = cast("type[Any]", type(obj))
        if isinstance(obj, type) or kind.__module__ == "builtins" or _is_plain(kind.__module__, kind.__qualname__):
            return NotImplemented
        for plain in (int, float):
            if isinstance(obj, plain):
                return plain, (plain(obj),)
        return str, (str(obj),)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        if not _is_plain(module, name):
            raise pickle.UnpicklingError(f"{module}.{name} is nothing that a RunEngine's process may send")
        return super().find_class(module, name)


def encoded(messages: Sequence[Message]) -> list[bytes | memoryview]:
    """Return a frame in pieces, large buffers as they are."""
    buffers: list[memoryview] = []

    def beside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=beside).dump(list(messages))
    body = file.getvalue()
    sizes = struct.pack(f"<{len(buffers)}Q", *(buffer.nbytes for buffer in buffers))
    whole = _HEAD.size + len(sizes) + len(body) + sum(buffer.nbytes for buffer in buffers)
    return [_HEAD.pack(whole, len(body), len(buffers)) + sizes + body, *buffers]


class BrokenFrames(ConnectionError):
    """What comes over a connection is no frame, so nobody knows where the next one begins."""


class FrameProtocol(asyncio.Protocol):
    """One end of the connection; belongs to an event loop.

    It calls ``heard`` with each message, ``lost`` once when the connection is no more, ``room`` when much
    was written and the other end has taken it, and ``made`` when there is a connection.
    """

    def __init__(
        self,
        heard: Callable[[Message], None],
        lost: Callable[[], None],
        *,
        room: Callable[[], None] = lambda: None,
        made: Callable[[FrameProtocol], None] = lambda _: None,
    ) -> None:
        self._heard = heard
        self._lost = lost
        self._room = room
        self._made = made
        self._inbox = bytearray()
        self.transport: Any = None
        self.full = False
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport, self.open = transport, True
        self.transport.set_write_buffer_limits(high=1 << 23)
        self._made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        if self.open:
            self.open = False
            self._lost()

    def pause_writing(self) -> None:
        """Note that the other end does not keep up."""
        self.full = True

    def resume_writing(self) -> None:
        """Note that it does again."""
        self.full = False
        self._room()

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages in one frame; nothing when the connection is no more."""
        if self.open:
            for piece in encoded(messages):
                self.transport.write(piece)

    def close(self) -> None:
        """Hang up when what was sent is written; `lost` is not called."""
        self.open = False
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and hand on what is complete by now; raises `BrokenFrames` when it is no frame at all."""
        self._inbox += data
        while len(self._inbox) >= _HEAD.size:
            whole, length, count = _HEAD.unpack_from(self._inbox)
            if whole < _HEAD.size:
                raise BrokenFrames(f"a frame says that it has {whole} bytes, and its head alone has {_HEAD.size}")
            if len(self._inbox) < whole:
                return
            try:
                with memoryview(self._inbox)[:whole] as frame:
                    messages = list(_decoded(frame, length, count))
            except Exception:  # noqa: BLE001 - it must not end the connection, over which the next ones come
                _log.exception("a frame of %d bytes could not be read", whole)
                messages = []
            del self._inbox[:whole]
            for message in messages:
                self._hear(message)

    def _hear(self, message: Message) -> None:
        try:
            self._heard(message)
        except Exception:  # noqa: BLE001 - see data_received
            _log.exception("a message could not be taken: %.100r", message)


def _decoded(frame: memoryview, length: int, count: int) -> list[Message]:
    sizes = struct.unpack_from(f"<{count}Q", frame, _HEAD.size)
    at = _HEAD.size + 8 * count
    body, at = bytes(frame[at : at + length]), at + length
    buffers: list[bytearray] = []
    for size in sizes:
        buffers.append(bytearray(frame[at : at + size]))
        at += size
    return _Unpickler(io.BytesIO(body), buffers=buffers).load()
