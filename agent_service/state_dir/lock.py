"""The lock on a state directory: one service at a time, on a local disk, for one user."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service.errors import UsageError
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Collection
    from io import TextIOWrapper

NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
    }
    | {"smbfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs"}
)
"""Types, as in /proc/mounts, on which SQLite's WAL and flock do not do what they promise."""


def file_system(path: Path, *, mounts: Path = Path("/proc/mounts")) -> str | None:
    """Return the type of the file system that holds ``path``, or None where the system does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    resolved = path.resolve()
    best: tuple[int, str] | None = None
    for line in lines:
        fields = line.split()
        mount = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
        if resolved.is_relative_to(mount) and (best is None or len(mount.parts) >= best[0]):
            best = (len(mount.parts), fields[2])
    return best and best[1]


class DirectoryLock:
    """The lock on the directory at ``path``, which is made with mode 0700 when it is taken; ``keys`` may be shared."""

    def __init__(self, path: Path, *, keys: Collection[str], mounts: Path) -> None:
        self._path = path
        self._keys = keys
        self._mounts = mounts
        self._file: TextIOWrapper | None = None
        self._file_name = str(path / "lock")

    def prepare(self) -> None:
        """Let there be the directory, on a local disk, for this user alone to write to, or raise `UsageError`."""
        parent = next(folder for folder in (self._path, *self._path.parents) if folder.exists())
        kind = file_system(parent, mounts=self._mounts)
        if kind in NETWORK_FILE_SYSTEMS:
            raise UsageError(
                f"the state directory {self._path} is on a network file system ({kind}), where neither the journal nor "
                "the lock is safe; give a folder on a local disk with --state"
            )
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None
        private_files.require_own(self._path)

    def take(self) -> None:
        """Take the directory for this process, if it does not hold it, or raise `UsageError`; a kill -9 releases it."""
        if self._file is not None:
            return
        self.prepare()
        try:
            handle = os.fdopen(private_files.open_to_append(Path(self._file_name)), "a+", encoding="utf-8")
            private_files.make_private(self._path, but=self._keys)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            handle.close()
            raise UsageError(
                f"the state directory {self._path} is in use by another service (process {owner}); stop that one or "
                "give another folder with --state"
            ) from None
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        self._file = handle

    def lost(self) -> str | None:
        """Return why this process no longer holds the directory, which it has locked; None when it does."""
        if self._file is None:
            return None
        held = os.fstat(self._file.fileno())
        try:
            now = os.stat(self._file_name)  # noqa: PTH116 - before and after each commit: Path costs more than the look
        except OSError:
            return f"{self._path} was deleted or moved away, or its file lock was: another service could start on it"
        if (now.st_dev, now.st_ino) != (held.st_dev, held.st_ino):
            return f"another service may run on {self._path} by now, for its file lock was replaced"
        return None

    def release(self) -> None:
        """Give the directory back; does nothing when it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _unusable(self, error: OSError) -> UsageError:
        return UsageError(f"the state directory {self._path} cannot be used: {error.strerror}")
