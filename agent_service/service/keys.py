"""Keys: who may do what, in a file of the state directory that holds their hashes and never a key.

The file has one JSON object a line and only grows: one line when a key is made, one when it is revoked. So its size
says whether it changed, and a service sees another process's changes with one look at the file, at each request.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from agent_service.context import OWNER
from agent_service.errors import BackendUnavailable, UsageError
from agent_service.models.spelling import near
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_TAKEN: Final = frozenset({OWNER, "epics", "loop", "neighbour", "person", "service"})
"""Names that say something else in the facts of the journal."""

_NOT_SEEN: Final = (-1, -1, -1)
"""What a look at a file says that cannot be looked at."""

_log = logging.getLogger(__name__)


class Scope(StrEnum):
    """What a key may do; none includes another."""

    READ = "read"
    PROPOSE = "propose"
    CONTROL = "control"
    APPROVE = "approve"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Key:
    """A key, without the key itself: who holds it, as the journal shows it, and what it may do.

    ``digest`` is its SHA-256, 32 bytes: a key is random, 192 bits, so a slow hash would protect nothing more. The
    owner's has no ``created_at``.
    """

    name: str
    scopes: frozenset[Scope]
    digest: bytes
    created_at: datetime | None = None


def digest_of(secret: str) -> bytes:
    """Return the hash under which a key is kept."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def scopes_of(text: str) -> frozenset[Scope]:
    """Return the scopes in a list such as ``read,control``; `UsageError` when one is unknown, or there is none."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = [str(scope) for scope in Scope]
    for name in names:
        if name not in known:
            raise UsageError(f"there is no scope {name!r}; {near(name, known)}the scopes are {', '.join(known)}")
    if not names:
        raise UsageError(f"a key without a scope may do nothing; give some of {','.join(known)}")
    return frozenset(Scope(name) for name in names)


class KeyFile:
    """The keys of a state directory, on the disk; several processes may use it at once.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> keys = KeyFile(pathlib.Path(tempfile.mkdtemp()) / "keys.jsonl")
    >>> key, secret = keys.create("alice", scopes_of("read,approve"))
    >>> [one.name for one in keys.read().keys]
    ['alice']
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> KeysRead:
        """Return the valid keys, and the hashes of revoked ones; `UsageError` when a line cannot be read."""
        try:
            text = private_files.read(self.path).encode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return KeysRead((), frozenset())
        except OSError as error:
            raise UsageError(f"the keys in {self.path} cannot be read: {error.strerror}") from None
        valid: dict[str, Key] = {}
        revoked: set[bytes] = set()
        whole, _, _torn = text.rpartition(b"\n")  # a line whose writer was killed counts as not written
        for number, line in enumerate(whole.splitlines(), 1):
            if not line:
                continue
            try:
                record: dict[str, Any] = json.loads(line)
                name, digest = str(record["name"]), bytes.fromhex(record["sha256"])
                if record.get("revoked"):
                    revoked.add(digest)
                    valid.pop(name, None)
                else:
                    scopes = frozenset(Scope(scope) for scope in record["scopes"])
                    valid[name] = Key(name, scopes, digest, datetime.fromisoformat(record["at"]))
            except (ValueError, KeyError, TypeError):
                remedy = "restore it from a copy, or remove the file and make new keys"
                raise UsageError(f"line {number} of {self.path} is no record of a key; {remedy}") from None
        return KeysRead(tuple(valid.values()), frozenset(revoked))

    def create(self, name: str, scopes: Iterable[Scope]) -> tuple[Key, str]:
        """Make a key, and return it with the key itself, which is kept nowhere; `UsageError` says why there is none."""
        if not _NAME.fullmatch(name) or name in _TAKEN:
            why = "is kept for the service itself" if name in _TAKEN else "is not possible"
            raise UsageError(
                f"the name {name!r} {why}; up to 64 letters, digits and '_.@-' are, a letter or digit first"
            )
        secret = f"bas_{secrets.token_hex(24)}"
        now = datetime.now(UTC)
        key = Key(name, frozenset(scopes), digest_of(secret), now)
        with self._writing() as handle:
            if any(kept.name == name for kept in self.read().keys):
                raise UsageError(f"there is a key {name!r} already; revoke it first, or choose another name")
            record = {"name": name, "scopes": sorted(key.scopes), "sha256": key.digest.hex()}
            _append(handle, {"at": now.isoformat(), **record})
        return key, secret

    def revoke(self, name: str) -> Key:
        """Revoke a key, or raise `UsageError`; a running service refuses it from its next request on."""
        with self._writing() as handle:
            known = {key.name: key for key in self.read().keys}
            if name not in known:
                raise UsageError(f"there is no key {name!r}; {near(name, known)}there are {', '.join(known) or 'none'}")
            self._revoked(handle, known[name])
        return known[name]

    def revoke_secret(self, name: str, secret: str) -> None:
        """Revoke a key that is not in the file, as that of the first start, by the key itself."""
        with self._writing() as handle:
            self._revoked(handle, Key(name, frozenset(), digest_of(secret)))

    def merge(self, exchange: Callable[[Sequence[str]], Sequence[str]]) -> None:
        """Add the lines that ``exchange`` returns for those of the file, and that are not in it."""
        known = self._lines()
        if all(line in known for line in exchange(known)):
            return
        with self._writing() as handle:
            known = self._lines()
            for line in exchange(known):
                if line not in known:
                    _append(handle, json.loads(line))

    def _lines(self) -> list[str]:
        try:
            text = private_files.read(self.path)
        except FileNotFoundError:
            return []
        return [line for line in text.rpartition("\n")[0].splitlines() if line]

    def _revoked(self, handle: int, key: Key) -> None:
        at = datetime.now(UTC).isoformat()
        _append(handle, {"at": at, "name": key.name, "sha256": key.digest.hex(), "revoked": True})

    @contextlib.contextmanager
    def _writing(self) -> Generator[int]:
        try:
            handle = private_files.open_to_append(self.path)
        except OSError as error:
            raise UsageError(f"the keys in {self.path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class KeysRead:
    """What a file of keys says: the valid keys, and the hashes of the revoked ones."""

    keys: tuple[Key, ...]
    revoked: frozenset[bytes]


class Keyring:
    """The keys a running service takes: ``own``, which may do everything until it is revoked, and those in the file.

    `find` costs one ``stat`` and one hash for a key that was verified before; for another, a comparison in constant
    time with every key there is. What is remembered goes by hashes, whose place in a table tells nothing of the key.
    """

    def __init__(self, file: KeyFile, own: str) -> None:
        self._file = file
        self._own = Key(OWNER, frozenset(Scope), digest_of(own))
        self._seen: tuple[int, int, int] | None = None
        self._trouble: str | None = None
        self._keys: tuple[Key, ...] = (self._own,)
        self._verified: dict[bytes, Key] = {}

    def load(self) -> None:
        """Read the file now, or raise `UsageError`."""
        seen = self._look()
        read = self._file.read()
        own = () if self._own.digest in read.revoked else (self._own,)
        self._keys, self._seen, self._trouble = (*own, *read.keys), seen, None
        self._verified.clear()

    def find(self, secret: str) -> Key | None:
        """Return the key, or None when it is unknown or revoked by now, or nobody can say: see `refuse_unread`."""
        self._refresh()
        if not secret:  # whatever the owner's is said to be
            return None
        digest = digest_of(secret)
        verified = self._verified.get(digest)
        if verified is not None:
            return verified
        for key in self._keys:  # all of them, so that the time tells nothing
            if hmac.compare_digest(key.digest, digest):
                verified = self._verified[digest] = key
        return verified

    def refuse_unread(self) -> None:
        """Raise `BackendUnavailable` while the file cannot be read."""
        if self._trouble is not None:
            raise BackendUnavailable(
                "the service cannot read its keys now, so it takes the owner's only; try again, and see its log for why"
            )

    def holds(self, key: Key) -> bool:
        """Return whether a key that was found before is still valid."""
        self._refresh()
        return key in self._keys

    def _refresh(self) -> None:
        if self._trouble is None and self._look() == self._seen:
            return
        before = self._trouble
        try:
            self.load()
        except UsageError as error:  # tried again at the next request: it may have been a moment without descriptors
            # nobody can say any more which of the others are revoked
            self._keys, self._trouble = tuple(key for key in self._keys if key is self._own), str(error)
            self._verified.clear()
            if self._trouble != before:
                _log.error("%s; until then only the owner's key is taken", error)
        else:
            if before is not None:
                _log.warning("the keys in %s can be read again", self._file.path)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            file = os.stat(self._file.path)  # noqa: PTH116 - at each request: Path.stat costs twice as much
        except FileNotFoundError:
            return None
        except OSError:
            return _NOT_SEEN
        return file.st_ino, file.st_size, file.st_mtime_ns


def _append(handle: int, record: dict[str, Any]) -> None:
    line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
    text = os.pread(handle, os.fstat(handle).st_size, 0)
    if not text.endswith(b"\n"):  # somebody was killed while writing
        os.ftruncate(handle, text.rfind(b"\n") + 1)
    os.write(handle, line)
    os.fsync(handle)
