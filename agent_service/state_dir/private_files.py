"""Files for their owner's eyes only: never made or read through a link, refused when somebody else may write them."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shlex
import stat
from typing import TYPE_CHECKING, Final

from agent_service.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_SAFE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # of a pipe nobody shall wait for a writer
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def write(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner can read, whole or not at all; what stood in its place is replaced."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of a process that was killed
    try:
        _write_new(temporary, content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create(path: Path, text: str) -> None:
    """Write a file that only its owner can read and that is not there yet; `FileExistsError` when it is.

    Nobody finds a part of it: it is written under another name, and gets its own when it is whole.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        _write_new(temporary, text)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise
        except OSError:  # this file system has no links
            _write_new(path, text)
    finally:
        temporary.unlink(missing_ok=True)


def _write_new(path: Path, content: str | bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)


def touch(path: Path) -> None:
    """Let there be a file that only its owner can read; one that is there stays as it is."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600))


def read(path: Path, *, own: bool = True) -> str:
    """Return the text of a secret file, as `read_bytes` reads it."""
    return read_bytes(path, own=own).decode("utf-8", "surrogateescape")


def read_bytes(path: Path, *, own: bool = True) -> bytes:
    """Return what is in a secret file; if it is this user's ``own``, it is made private when others could read it.

    Raises `FileNotFoundError` or `PermissionError`; `UsageError` for a link or no file, and where it is to be this
    user's own, and belongs to somebody else or others can write it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _SAFE)
    except OSError as error:
        if path.is_symlink():
            raise UsageError(f"{path} is a link; put the file itself there, or remove it") from None
        raise error from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path} is no file; remove it")
        if own:
            _refuse_others(path, status, what="file")
        if own and status.st_mode & _OTHERS:
            os.fchmod(handle, stat.S_IRUSR | stat.S_IWUSR)
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def open_to_append(path: Path) -> int:
    """Return a descriptor of a file that is made for its owner's eyes only if need be, to read and to append."""
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _SAFE, 0o600)


def require_own(folder: Path) -> None:
    """Raise `UsageError` when a folder belongs to somebody else, or others can put files into it; says what to do."""
    status = folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{folder} is no folder")
    _refuse_others(folder, status, what="folder")


def make_private(folder: Path, *, but: Collection[str] = ()) -> None:
    """Take from others what they may do with the files in a folder, not with those in folders within it.

    Those in ``but`` stay as they are where others can write them: `read` refuses those.
    """
    for entry in os.scandir(folder):
        if not entry.is_file(follow_symlinks=False):
            continue
        with contextlib.suppress(OSError):  # gone, or somebody else's
            mode = entry.stat(follow_symlinks=False).st_mode
            if mode & _OTHERS and not (entry.name in but and mode & _OTHERS_WRITE):
                os.chmod(entry.path, stat.S_IMODE(mode) & ~_OTHERS)  # noqa: PTH101 - a DirEntry is no Path


def _refuse_others(path: Path, status: os.stat_result, *, what: str) -> None:
    if status.st_uid != os.geteuid():
        raise UsageError(
            f"the {what} {path} belongs to {_user(status.st_uid)}, and this is run by {_user(os.geteuid())}; run it as "
            f"{_user(status.st_uid)}, or give another {what}"
        )
    if status.st_mode & _OTHERS_WRITE:
        raise UsageError(
            f"others can write to the {what} {path}, so they could let the service run what they like; take that from "
            f"them: chmod go-w {shlex.quote(str(path))}"
        )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
