"""Whether a SQLite journal is where the next start will read it: a deleted file is written on, and read by nobody.

SQLite goes on with files that were deleted, moved away, replaced or cut short while they are open, and says nothing. So
their identity and size are compared with what lies at their paths, after each commit and before anybody is told of it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from agent_service.errors import UsageError
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sqlalchemy as sa

_PARTS: Final = ("", "-wal", "-shm")
_GROW: Final = ("", "-wal")
"""Those that never become smaller while a journal is open: nothing here vacuums, or cuts the log."""

_RESCUED: Final = "rescued"


class JournalFiles:
    """The files of a journal as they were when it was opened, and what lies in their place. For any thread."""

    def __init__(self, path: Path, *, folder_lost: Callable[[], str | None] = lambda: None) -> None:
        self._path = path
        self._path_text = str(path)
        self._folder_lost = folder_lost
        self._known: dict[str, tuple[int, int]] = {}
        self._sizes: dict[str, int] = {}
        self._cut: str | None = None
        self.rescued: Path | None = None

    def remember(self) -> None:
        """Remember the files that are there now as the journal's; call it when it has just been opened."""
        for part in _PARTS:
            with contextlib.suppress(OSError):
                status = os.stat(self._path_text + part)  # noqa: PTH116 - as in `lost`
                self._known[part] = status.st_dev, status.st_ino
                self._sizes[part] = status.st_size

    def lost(self) -> str | None:
        """Return why the next start would not read what is written now, or None."""
        for part, known in self._known.items():
            before = self._sizes.get(part, 0)  # before the look: another thread may look later, and see more
            try:
                # before and after each commit: Path costs more than the look
                status = os.stat(self._path_text + part)  # noqa: PTH116
            except OSError as error:
                gone = isinstance(error, FileNotFoundError | NotADirectoryError)
                why = "was deleted or moved away" if gone else f"cannot be looked at ({error.strerror})"
                return f"{self._path.name}{part} {why}"
            if (status.st_dev, status.st_ino) != known:
                return f"another file lies in the place of {self._path.name}{part}"
            if part not in _GROW:
                continue
            if status.st_size < before:
                # it stays so: what is written now would make it longer again
                self._cut = f"{self._path.name}{part} was cut short"
            self._sizes[part] = status.st_size
        if self._cut is not None:
            return self._cut
        return self._folder_lost()

    def remedy(self) -> str:
        """Return what a person has to do."""
        if self.rescued is not None:
            again = f"rename {self.rescued.name}, which holds all of it, to {self._path.name}, and start it again"
        else:
            again = f"bring {self._path.name} back from a copy, and start it again"
        return f"move back what was moved, and it goes on; else stop the service, {again}"

    def rescue(self, engine: sa.Engine) -> None:
        """Copy what is still open to a file beside the journal, if that can be done; once."""
        if self.rescued is not None:
            return
        now = datetime.now().astimezone()
        copy = self._path.with_name(f"{self._path.stem}.{_RESCUED}-{now:%Y%m%d-%H%M%S}{self._path.suffix}")
        unfinished = copy.with_suffix(".new")
        try:
            private_files.touch(unfinished)
            with engine.connect() as connection, contextlib.closing(sqlite3.connect(unfinished)) as file:
                held = connection.connection.dbapi_connection
                assert isinstance(held, sqlite3.Connection)  # noqa: S101 - the engine's own
                held.backup(file)
                if file.execute("PRAGMA quick_check").fetchone() != ("ok",):  # part of it was cut away
                    raise sqlite3.DatabaseError
            unfinished.rename(copy)
        except (OSError, sqlite3.Error, SQLAlchemyError):
            with contextlib.suppress(OSError):
                unfinished.unlink()
        else:
            self.rescued = copy


def refuse_lost(path: Path) -> None:
    """Raise `UsageError` when there is no journal, but a copy of one that was lost while a service ran."""
    if path.exists():
        return
    copies = sorted(path.parent.glob(f"{path.stem}.{_RESCUED}-*{path.suffix}"))
    if copies:
        raise UsageError(
            f"the journal {path} was lost while a service ran, and {copies[-1].name} beside it holds what was in it; "
            f"rename that to {path.name} to go on with it, or remove it to begin without memory"
        )
