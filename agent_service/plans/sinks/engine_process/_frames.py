"""What passes between the service and its RunEngine's process: lists of messages, tuples that begin with their kind.

A frame is a head, the sizes of its buffers, a pickle (protocol 5) and those buffers: an image is neither copied into
the pickle nor out of it. What the child sends is of plain values, numpy's and ours; nothing else is loaded from it.
"""

from __future__ import annotations

import asyncio
import io
import pickle
import struct
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Message = tuple[Any, ...]

_HEAD: Final = struct.Struct("<II")
_INBOX: Final = 1 << 18
_OUT_OF_BAND: Final = 1 << 14
"""Bytes from which on a buffer travels beside the pickle."""

_PACKAGES: Final = frozenset(
    {"agent_service", "numpy", "datetime", "uuid", "decimal", "fractions", "collections", "copyreg", "zoneinfo"}
)
_BUILTINS: Final = frozenset(
    {"complex", "bytearray", "set", "frozenset", "range", "slice", "object", "int", "float", "str"}
)


def _is_plain(module: str, name: str) -> bool:
    return name in _BUILTINS if module == "builtins" else module.partition(".")[0] in _PACKAGES


class _Pickler(pickle.Pickler):
    """Pickles messages; a value of somebody else's class becomes its number or its text."""

    def reducer_override(self, obj: Any) -> Any:
        kind = cast("type[Any]", type(obj))
        if isinstance(obj, type) or kind.__module__ == "builtins" or _is_plain(kind.__module__, kind.__name__):
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
    return [_HEAD.pack(len(body), len(buffers)) + sizes + body, *buffers]


class FrameProtocol(asyncio.BufferedProtocol):
    """One end of the connection; belongs to an event loop.

    Parameters
    ----------
    heard
        Called with the messages of each frame.
    lost
        Called once when the connection is no more.
    room
        Called when much was written and the other end has taken it.
    """

    def __init__(
        self,
        heard: Callable[[list[Message]], None],
        lost: Callable[[], None],
        room: Callable[[], None] = lambda: None,
    ) -> None:
        self._heard = heard
        self._lost = lost
        self._room = room
        self._transport: Any = None
        self._inbox = bytearray(_INBOX)
        self._filled = 0
        self._body: bytes | None = None
        self._buffers: list[bytearray] = []
        self._current = 0
        self._current_filled = 0
        self.full = False
        self.open = False

    # the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport, self.open = transport, True
        self._transport.set_write_buffer_limits(high=1 << 23)

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
                self._transport.write(piece)

    def close(self) -> None:
        """Hang up when what was sent is written; `lost` is not called."""
        self.open = False
        if self._transport is not None:
            self._transport.close()

    # what comes in ------------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: into the buffer that is being filled, or the inbox."""
        if self._body is not None:
            return memoryview(self._buffers[self._current])[self._current_filled :]
        return memoryview(self._inbox)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes, and hand on the frames that are complete by now."""
        if self._body is not None:
            self._current_filled += nbytes
            self._fill(b"")
            return
        self._filled += nbytes
        taken = 0
        while self._body is None and (size := self._next_frame(taken)):
            taken += size
            taken += self._fill(memoryview(self._inbox)[taken : self._filled])
        rest = bytes(self._inbox[taken : self._filled])
        self._filled = len(rest)
        needed = self._needed(rest)
        if needed > len(self._inbox) or len(self._inbox) > max(needed, _INBOX):
            self._inbox = bytearray(max(needed, _INBOX))
        self._inbox[: len(rest)] = rest

    def _next_frame(self, at: int) -> int:
        """Begin the frame in the inbox; return how many bytes that takes, 0 when more are needed."""
        view = memoryview(self._inbox)[at : self._filled]
        if len(view) < _HEAD.size or len(view) < (size := self._needed(view)):
            return 0
        length, count = _HEAD.unpack_from(view)
        sizes = struct.unpack_from(f"<{count}Q", view, _HEAD.size)
        self._body = bytes(view[size - length : size])
        self._buffers = [bytearray(one) for one in sizes]
        self._current = self._current_filled = 0
        return size

    def _needed(self, begun: bytes | memoryview) -> int:
        """Return the size of the head, sizes and pickle of a frame that has begun, as far as that is known."""
        if len(begun) < _HEAD.size:
            return _HEAD.size
        length, count = _HEAD.unpack_from(begun)
        return _HEAD.size + 8 * count + length

    def _fill(self, piece: bytes | memoryview) -> int:
        """Fill the buffers of the present frame; hand it on when it is whole. Return how much was taken."""
        taken = 0
        while self._current < len(self._buffers):
            buffer = self._buffers[self._current]
            part = piece[taken : taken + len(buffer) - self._current_filled]
            buffer[self._current_filled : self._current_filled + len(part)] = part
            taken += len(part)
            self._current_filled += len(part)
            if self._current_filled < len(buffer):
                return taken
            self._current, self._current_filled = self._current + 1, 0
        body, buffers, self._body, self._buffers = self._body or b"", self._buffers, None, []
        self._heard(_Unpickler(io.BytesIO(body), buffers=buffers).load())
        return taken
