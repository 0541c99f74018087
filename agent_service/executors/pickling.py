"""What is sent between the service and its agents' processes, pickled: quickly on the event loop, or in a thread."""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

from agent_service.errors import AgentFault, ServiceError, texts

QUICK: Final = 1 << 18
"""Bytes of pickle that the event loop deals with itself; more is dealt with in a thread."""


def pickled(thing: object) -> bytes:
    """Return something pickled by cloudpickle, or raise `AgentFault`. Not on the event loop: it runs unknown code."""
    import cloudpickle  # noqa: PLC0415 - only those who have processes need it

    try:
        return cloudpickle.dumps(thing)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    except ServiceError:
        raise
    except Exception as error:
        raise AgentFault(
            f"it cannot be sent to a process of its own, because it does not pickle: {texts.describe(error)}"
        ) from error


class _TooMuch(Exception):
    """More than the event loop should deal with."""


class _Short(io.RawIOBase):
    """Takes a short pickle, and no longer one."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._left = QUICK

    def write(self, data: Any) -> int:
        """Keep a piece."""
        piece = bytes(data)
        self._left -= len(piece)
        if self._left < 0:
            raise _TooMuch
        self.pieces.append(piece)
        return len(piece)


def quickly_pickled(thing: object) -> bytes | None:
    """Return something pickled by plain pickle, None when it does not so or is long: then `pickled` takes it."""
    file = _Short()
    try:
        pickle.dump(thing, file, protocol=pickle.HIGHEST_PROTOCOL)  # pyright: ignore[reportArgumentType]
    except Exception:  # noqa: BLE001 - cloudpickle will find out, in a thread
        return None
    return b"".join(file.pieces)


def cannot_load(error: BaseException) -> AgentFault:
    """Return the fault of a result that the service cannot load."""
    return AgentFault(f"what it returned cannot be loaded by the service: {texts.describe(error)}; return plain values")
