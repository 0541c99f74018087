"""The socket of the RunEngine's process in a state directory, by which one knows whether it lives."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

NAME: Final = "engine.sock"


def connected(folder: Path) -> socket.socket | None:
    """Return a connection to the process that is there, None when there is none; may block."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        with short(folder) as path:
            connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


def lives(folder: Path) -> bool:
    """Return whether there is such a process; may block."""
    if not (folder / NAME).exists() or (connection := connected(folder)) is None:
        return False
    connection.close()
    return True


@contextlib.contextmanager
def short(folder: Path) -> Generator[str]:
    """Give a path of the socket that is short enough for the system, whose limit is 108 bytes."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{NAME}"
    finally:
        os.close(handle)
