"""What repeatable requests were answered, for a day: so that one that is sent twice is carried out once.

An answer is written before it is sent. The facts that a request causes name it (`context.request_mark`), so that also
after a kill between fact and answer it is known what was done, and nothing is done again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from agent_service.errors import UsageError
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from agent_service.models import Event

KEPT_S: Final = 86_400.0
"""How long an answer is kept, in seconds."""

_FORGETS_EVERY_S: Final = 3600.0
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS answers "
    "(mark TEXT PRIMARY KEY, time REAL, request TEXT, status INTEGER, type TEXT, location TEXT, body BLOB)"
)

_log = logging.getLogger(__name__)


class KeptAnswer(NamedTuple):
    """An answer, and a digest of the request that it answers."""

    request: str
    status: int
    type: str
    location: str
    body: bytes


class Answers:
    """Keeps answers in a file of the state directory; belongs to the event loop."""

    def __init__(self, path: Path, *, power_safe: bool = False) -> None:
        self._path = path
        self._synchronous = "FULL" if power_safe else "NORMAL"
        self._file: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._marks: set[str] = set()
        self._here: dict[str, tuple[float, KeptAnswer]] = {}
        self._facts: dict[str, list[Event]] = {}
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._forget_at = 0.0
        self._forgotten_before = 0.0

    def open(self) -> None:
        """Read which requests were answered, or raise `UsageError`. Blocks; call it before `on_fact`."""
        try:
            private_files.touch(self._path)
            self._file = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute(f"PRAGMA synchronous={self._synchronous}")
            self._file.execute(_TABLE)
            self._forget()
            self._marks = {mark for (mark,) in self._file.execute("SELECT mark FROM answers")}
        except (sqlite3.Error, OSError) as error:
            raise UsageError(
                f"{self._path} cannot be used: {error}; remove it, and requests sent twice are new"
            ) from error

    def close(self) -> None:
        """Close the file; harmless the second time."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(sqlite3.Error):
                file.close()

    def on_fact(self, event: Event) -> None:
        """Remember a fact of a request that is not answered yet."""
        mark = event.data.get("request")
        if not isinstance(mark, str) or event.time.timestamp() < self._forgotten_before:
            return
        if mark not in self._marks and mark not in self._here:
            self._facts.setdefault(mark, []).append(event)

    def facts_of(self, mark: str) -> list[Event]:
        """Return what a request that was never answered did, oldest first."""
        return self._facts.get(mark, [])

    @contextlib.asynccontextmanager
    async def in_turn(self, mark: str) -> AsyncGenerator[None]:
        """Let one request of a mark be carried out at a time; the others wait for it."""
        while (before := self._under_way.get(mark)) is not None:
            await asyncio.wait({before})
        done = self._under_way[mark] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            del self._under_way[mark]
            done.set_result(None)

    async def find(self, mark: str) -> KeptAnswer | None:
        """Return the answer of a request, or None when it was never answered."""
        if mark in self._here:
            return self._here[mark][1]
        return await asyncio.to_thread(self._read, mark) if mark in self._marks else None

    async def keep(self, mark: str, answer: KeptAnswer, *, in_memory: bool = False) -> None:
        """Keep an answer; ``in_memory`` one that means nothing after a restart, a job's address.

        One that cannot be written is kept in memory: its facts are in the journal.
        """
        if not in_memory:
            try:
                await asyncio.to_thread(self._write, mark, answer)
            except sqlite3.Error as error:
                _log.warning("an answer could not be written to %s: %s", self._path, error)
                in_memory = True
        if in_memory:
            self._here[mark] = (time.monotonic(), answer)
        else:
            self._marks.add(mark)
        self._facts.pop(mark, None)

    def _read(self, mark: str) -> KeptAnswer | None:
        if self._file is None:
            return None
        with self._lock:
            row = self._file.execute(
                "SELECT request, status, type, location, body FROM answers WHERE mark = ?", (mark,)
            ).fetchone()
        return None if row is None else KeptAnswer(*row)

    def _write(self, mark: str, answer: KeptAnswer) -> None:
        if self._file is None:
            raise sqlite3.ProgrammingError("the service ends")
        with self._lock:
            self._file.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", (mark, time.time(), *answer)
            )
            if time.monotonic() >= self._forget_at:
                self._forget()

    def _forget(self) -> None:
        assert self._file is not None  # noqa: S101 - open
        self._forget_at = time.monotonic() + _FORGETS_EVERY_S
        old = self._forgotten_before = time.time() - KEPT_S
        gone = {mark for (mark,) in self._file.execute("SELECT mark FROM answers WHERE time < ?", (old,))}
        self._file.execute("DELETE FROM answers WHERE time < ?", (old,))
        self._marks -= gone
        limit = time.monotonic() - KEPT_S
        self._here = {mark: kept for mark, kept in self._here.items() if kept[0] > limit}
