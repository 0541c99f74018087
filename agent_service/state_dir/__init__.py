"""The state directory: it holds a service's journal, spool, keys and catalogue, for one service at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import quote_from_bytes

from agent_service.errors.texts import without_password
from agent_service.state_dir import private_files
from agent_service.state_dir.lock import DirectoryLock

if TYPE_CHECKING:
    from collections.abc import Generator

JOURNAL_URL: Final = "AGENT_SERVICE_ARCHIVE_JOURNAL"
"""Variable of the environment that tells the archive's process where the journal is; a URL may hold a password."""

STARTS_WITHIN_S: Final = 600.0
"""How long the mark of a service that starts is believed."""


class StateDir:
    """Paths in a state directory, which is made, with mode 0700, when it is locked; and the lock on it.

    Examples
    --------
    >>> import tempfile
    >>> with StateDir(Path(tempfile.mkdtemp())) as state:
    ...     state.journal.name
    'journal.db'
    """

    def __init__(self, path: Path, *, mounts: Path = Path("/proc/mounts")) -> None:
        self.path = path.absolute()
        self.journal = self.path / "journal.db"
        """The journal's SQLite file."""
        self.journal_url_file = self.path / "journal.url"
        """The URL of a journal that is elsewhere, without its password."""
        self.spool = self.path / "spool"
        """Folder of runs not yet in the catalogue."""
        self.catalog = self.path / "catalog"
        """Folder of the embedded catalogue."""
        self.catalog_files = self.catalog / "files"
        """Folder of what the embedded catalogue keeps in files; a directory has it before it has the catalogue."""
        self.catalog_cursor = self.path / "outbox.json"
        """The catalogue writer's cursor into the journal."""
        self.brains = self.path / "brains"
        """Folder of the states of brains, to go on from after a restart."""
        self.answers = self.path / "answers.db"
        """What requests that may be sent twice were answered."""
        self.profiles = self.path / "profiles"
        """Folder of databroker (Tiled) profiles; name it in TILED_PROFILES."""
        self.key_file = self.path / "api_key"
        """The key made at the first start."""
        self.keys_file = self.path / "keys.jsonl"
        """The keys made by `agent-service keys`, hashed."""
        self.service_file = self.path / "service.json"
        """URL of the service that runs on this directory, for the command line on the same machine."""
        self.starting_file = self.path / "starting"
        """Process id of the service that starts on this directory, until it listens and answers."""
        self.served_file = self.path / "served.json"
        """With what the directory was served last: startup, sink, guardrails, and which files said so."""
        self.arrival = self.path / "arrived"
        """Mark of a state that was exported from another service: its agents come back paused, once."""
        self._journal_url = os.environ.get(JOURNAL_URL)
        self._lock = DirectoryLock(self.path, keys=(self.key_file.name, self.keys_file.name), mounts=mounts)

    @property
    def journal_url(self) -> str:
        """The journal's URL, for `journal.reader`; what is told to this process by `keep_journal_url` counts first."""
        if self._journal_url is not None:
            return self._journal_url
        try:
            return self.journal_url_file.read_text(encoding="utf-8").strip()
        except OSError:
            return f"sqlite:///{quote_from_bytes(os.fsencode(self.journal))}"

    def keep_journal_url(self, url: str | None) -> None:
        """Remember where the journal is: at a URL, of which all but the password is written, or in this directory."""
        self._journal_url = url
        if url is None:
            self.journal_url_file.unlink(missing_ok=True)
        else:
            private_files.write(self.journal_url_file, without_password(url) + "\n")

    def prepare(self) -> None:
        """Let there be the directory, on a local disk, for this user alone to write to, or raise `UsageError`."""
        self._lock.prepare()

    def lock(self) -> None:
        """Take the directory for this process, if it does not hold it, or raise `UsageError`; a kill -9 releases it."""
        self._lock.take()

    def lost(self) -> str | None:
        """Return why this process no longer holds the directory, which it has locked; None when it does."""
        return self._lock.lost()

    def release(self) -> None:
        """Give the directory back; does nothing when it is not held."""
        self._lock.release()

    def api_key(self) -> tuple[str, bool]:
        """Return the key of this directory, and whether it was made just now."""
        try:
            return self.read_key(), False
        except FileNotFoundError:
            key = secrets.token_hex(24)
            private_files.write(self.key_file, key + "\n")
            return key, True

    def read_key(self, *, own: bool = True) -> str:
        """Return the key that was made at the first start; an empty file counts as none. See `private_files.read`."""
        key = private_files.read(self.key_file, own=own).strip()
        if not key:  # a full disk, or a copy that was cut short
            raise FileNotFoundError(errno.ENOENT, "there is no key in the file", str(self.key_file))
        return key

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Announced(NamedTuple):
    """What a service wrote into its state directory when it began to listen."""

    url: str
    pid: int | None


def starting(state: StateDir) -> int | None:
    """Return the process in which a service starts on a state directory, None where none does."""
    try:
        if time.time() - state.starting_file.stat().st_mtime > STARTS_WITHIN_S:  # of one that was killed
            return None
        pid = int(state.starting_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return pid if _is_alive(pid) else None


def is_served(state: StateDir) -> bool:
    """Return whether a service of this machine answers on a state directory, or starts there."""
    service = announced(state)
    return (service is not None and service.pid is not None and _is_alive(service.pid)) or starting(state) is not None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # somebody else's
        return True
    except (OSError, OverflowError):
        return False
    return True


@contextlib.contextmanager
def marked_starting(state: StateDir) -> Generator[None]:
    """Let others see that a service starts on a state directory."""
    state.prepare()
    with contextlib.suppress(OSError):  # a full disk; who starts a service hears of it otherwise
        private_files.write(state.starting_file, f"{os.getpid()}\n")
    try:
        yield
    finally:
        state.starting_file.unlink(missing_ok=True)


def announced(state: StateDir) -> Announced | None:
    """Return where the service on a state directory listens, or None when none has said so."""
    try:
        record: dict[str, Any] = json.loads(state.service_file.read_text(encoding="utf-8"))
        return Announced(str(record["url"]), record.get("pid"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
