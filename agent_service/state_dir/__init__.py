"""The state directory: where a service keeps what it knows, one service at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import quote_from_bytes

from agent_service.errors import UsageError
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from io import TextIOWrapper
    from types import TracebackType

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
        mount = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[1]))
        if resolved.is_relative_to(mount) and (best is None or len(mount.parts) >= best[0]):
            best = (len(mount.parts), fields[2])
    return best and best[1]


class StateDir:
    """Paths in a state directory, and the lock on it.

    Parameters
    ----------
    path
        The directory; made, with mode 0700, when it is locked.
    mounts
        Table of mounted file systems.

    Examples
    --------
    >>> import tempfile
    >>> with StateDir(Path(tempfile.mkdtemp())) as state:
    ...     state.journal.name
    'journal.db'
    """

    def __init__(self, path: Path, *, mounts: Path = Path("/proc/mounts")) -> None:
        self.path = path.absolute()
        self._mounts = mounts
        self._lock: TextIOWrapper | None = None

    @property
    def journal(self) -> Path:
        """The journal's SQLite file."""
        return self.path / "journal.db"

    @property
    def journal_url(self) -> str:
        """The journal's URL, for `journal.reader`."""
        return f"sqlite:///{quote_from_bytes(os.fsencode(self.journal))}"

    @property
    def spool(self) -> Path:
        """Folder of runs not yet in the catalogue."""
        return self.path / "spool"

    @property
    def catalog(self) -> Path:
        """Folder of the embedded catalogue."""
        return self.path / "catalog"

    @property
    def catalog_files(self) -> Path:
        """Folder of what the embedded catalogue keeps in files; a directory has it before it has the catalogue."""
        return self.catalog / "files"

    @property
    def catalog_cursor(self) -> Path:
        """The catalogue writer's cursor into the journal."""
        return self.path / "outbox.json"

    @property
    def answers(self) -> Path:
        """What requests that may be sent twice were answered."""
        return self.path / "answers.db"

    @property
    def profiles(self) -> Path:
        """Folder of databroker (Tiled) profiles; name it in TILED_PROFILES."""
        return self.path / "profiles"

    @property
    def key_file(self) -> Path:
        """The key made at the first start."""
        return self.path / "api_key"

    @property
    def keys_file(self) -> Path:
        """The keys made by `agent-service keys`, hashed."""
        return self.path / "keys.jsonl"

    @property
    def service_file(self) -> Path:
        """URL of the service that runs on this directory, for the command line on the same machine."""
        return self.path / "service.json"

    @property
    def arrival(self) -> Path:
        """Mark of a state that was exported from another service: its agents come back paused, once."""
        return self.path / "arrived"

    def prepare(self) -> None:
        """Let there be the directory, for this user alone to write to.

        Raises
        ------
        UsageError
            When it is on a network file system, or cannot be made; when it belongs to somebody else, or others can
            write to it.
        """
        parent = next(one for one in (self.path, *self.path.parents) if one.exists())
        kind = file_system(parent, mounts=self._mounts)
        if kind in NETWORK_FILE_SYSTEMS:
            raise UsageError(
                f"the state directory {self.path} is on a network file system ({kind}), where neither the journal nor "
                "the lock is safe; give a folder on a local disk with --state"
            )
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None
        private_files.require_own(self.path)

    def lock(self) -> None:
        """Take the directory for this process; a kill -9 releases it.

        Raises
        ------
        UsageError
            When it is in use, cannot be written, or as `prepare` says.
        """
        self.prepare()
        try:
            handle = os.fdopen(private_files.open_to_append(self.path / "lock"), "a+", encoding="utf-8")
            private_files.make_private(self.path, but=(self.key_file.name, self.keys_file.name))
        except OSError as error:
            raise self._unusable(error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            handle.close()
            raise UsageError(
                f"the state directory {self.path} is in use by another service (process {owner}); stop that one or "
                "give another folder with --state"
            ) from None
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        self._lock = handle

    def lost(self) -> str | None:
        """Return why this process no longer holds the directory, which it has locked; None when it does."""
        if self._lock is None:
            return None
        held = os.fstat(self._lock.fileno())
        try:
            found = os.stat(self.path / "lock")  # noqa: PTH116 - at each commit
        except OSError:
            return f"{self.path} was deleted or moved away, or its file lock was: another service could start on it"
        if (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino):
            return f"another service may run on {self.path} by now, for its file lock was replaced"
        return None

    def _unusable(self, error: OSError) -> UsageError:
        return UsageError(f"the state directory {self.path} cannot be used: {error.strerror}")

    def release(self) -> None:
        """Give the directory back; does nothing when it is not held."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def api_key(self) -> tuple[str, bool]:
        """Return the key of this directory, and whether it was made just now."""
        try:
            return self.read_key(), False
        except FileNotFoundError:
            key = secrets.token_hex(24)
            private_files.write(self.key_file, key + "\n")
            return key, True

    def read_key(self, *, own: bool = True) -> str:
        """Return the key that was made at the first start. See `private_files.read`.

        Raises
        ------
        UsageError
            Its file is a link, somebody else's, or one that others can write.
        FileNotFoundError, PermissionError
            There is none, the file is empty, or it is not for this user.
        """
        key = private_files.read(self.key_file, own=own).strip()
        if not key:  # a full disk, or a copy that was cut short
            raise FileNotFoundError(errno.ENOENT, "there is no key in the file", str(self.key_file))
        return key

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Announced(NamedTuple):
    """What a service wrote into its state directory when it began to listen."""

    url: str
    pid: int | None


def announced(state: StateDir) -> Announced | None:
    """Return where the service on a state directory listens, or None when none has said so."""
    try:
        told: dict[str, Any] = json.loads(state.service_file.read_text(encoding="utf-8"))
        return Announced(str(told["url"]), told.get("pid"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
