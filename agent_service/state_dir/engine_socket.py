"""The socket of the RunEngine's process in a state directory, by which one knows whether it lives.

It is in the directory, under a path that is short enough for the system, whose limit is 108 bytes. Where the file
system of the directory has no sockets, or the system no /proc, it is in a folder of this user's own elsewhere, and the
directory says where.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service.errors import UsageError
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Generator

NAME: Final = "engine.sock"
ELSEWHERE: Final = "engine.sock.path"
"""The file that says where the socket is if it is not in the directory."""


def bind(listening: socket.socket, folder: Path) -> None:
    """Bind a socket for this user only, in the place of one of before; raises `OSError` where there can be none."""
    remove(folder)
    try:
        with short(folder) as path:
            _bind(listening, path)
    except OSError:
        place = _bind_elsewhere(listening)
        private_files.write(folder / ELSEWHERE, f"{place}\n")


def remove(folder: Path) -> None:
    """Take the socket of a process that is no more away."""
    (folder / NAME).unlink(missing_ok=True)
    if (place := _elsewhere(folder)) is not None:
        shutil.rmtree(place.parent, ignore_errors=True)
        (folder / ELSEWHERE).unlink(missing_ok=True)


def connected(folder: Path) -> socket.socket | None:
    """Return a connection to the process that is there, None when there is none; may block."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        if (place := _elsewhere(folder)) is not None:
            connection.connect(str(place))
        else:
            with short(folder) as path:
                connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


def lives(folder: Path) -> bool:
    """Return whether there is such a process; may block."""
    if not any((folder / name).exists() for name in (NAME, ELSEWHERE)) or (connection := connected(folder)) is None:
        return False
    connection.close()
    return True


def owner_of(connection: socket.socket) -> int:
    """Return the user whose process is at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[1]


@contextlib.contextmanager
def short(folder: Path) -> Generator[str]:
    """Give a path of the socket in the directory that is short enough for the system."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{NAME}"
    finally:
        os.close(handle)


def _bind(listening: socket.socket, path: str) -> None:
    listening.bind(path)
    os.chmod(path, 0o600)  # noqa: PTH101 - a path of this process's own
    listening.listen(4)


def _bind_elsewhere(listening: socket.socket) -> Path:
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - the folder in it is made for this user only
        place = Path(tempfile.mkdtemp(prefix="agent-service-", dir=parent)) / NAME
        try:
            _bind(listening, str(place))
        except OSError as error:
            place.parent.rmdir()
            refused = error
        else:
            return place
    raise refused


def _elsewhere(folder: Path) -> Path | None:
    try:
        text = private_files.read(folder / ELSEWHERE).strip()
    except (OSError, UsageError):
        return None
    return Path(text) if text.endswith(f"/{NAME}") else None
