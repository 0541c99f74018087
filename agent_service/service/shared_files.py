"""Small files of the state directory that the next leader needs, too: kept in the journal's database beside the facts.

Keys are in both: a line that is added to the file on either machine, as `agent-service keys` does, is in the other
within seconds, whoever leads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from agent_service.errors import BackendUnavailable, LeadLost
from agent_service.errors.log_lines import Trouble
from agent_service.service.keys import KeyFile
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.journal import Notes
    from agent_service.state_dir import StateDir

LOOKS_EVERY_S: Final = 1.0

_log = logging.getLogger(__name__)


class SharedFiles:
    """Keeps small files of a state directory and notes in a database the same; `start` and `stop` on the event loop."""

    def __init__(self, state: StateDir, notes: Notes) -> None:
        self._files = {path.name: path for path in (state.catalog_cursor, state.served_file, state.arrival)}
        self._keys = KeyFile(state.keys_file)
        self._notes = notes
        self._seen: dict[str, tuple[int, int] | None] = {}
        self._leads = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to share the keys."""
        self._task = asyncio.create_task(self._run(), name="shared files")

    async def stop(self) -> None:
        """Write what is new a last time, and end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            with contextlib.suppress(BackendUnavailable):
                await asyncio.to_thread(self.look)

    def take(self) -> None:
        """Let the files be as the last leader left them; blocks, and raises `BackendUnavailable`."""
        self._keys.merge(self._notes.with_lines)
        kept = self._notes.read()
        for name, path in self._files.items():
            if name in kept:
                private_files.write(path, kept[name])
            else:
                path.unlink(missing_ok=True)
            self._seen[name] = _mark(path)
        self._leads = True

    def give(self) -> None:
        """Write all files into the database; blocks, and raises `BackendUnavailable`."""
        self._leads = True
        self.look()

    def look(self) -> None:
        """Share what is new; blocks, and raises `BackendUnavailable`."""
        self._keys.merge(self._notes.with_lines)
        if not self._leads:
            return
        seen = {name: _mark(path) for name, path in self._files.items()}
        changed = [name for name, mark in seen.items() if mark != self._seen.get(name)]
        if changed:
            self._notes.keep({name: _text(self._files[name]) for name in changed})
            self._seen = seen

    async def _run(self) -> None:
        trouble = Trouble(_log)
        while True:
            await asyncio.sleep(LOOKS_EVERY_S)
            try:
                await asyncio.to_thread(self.look)
                trouble.over("keys are shared again")
            except LeadLost:
                return  # the journal says so
            except BackendUnavailable as error:
                trouble.found(f"keys and notes cannot be shared now: {error.detail}")
            except Exception:  # noqa: BLE001 - logged, and tried again: the service goes on without
                _log.exception("files of the state directory could not be shared")


def _mark(path: Path) -> tuple[int, int] | None:
    """Return what changes with a file; each of these is replaced as a whole."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _text(path: Path) -> str | None:
    try:
        return private_files.read(path)
    except FileNotFoundError:
        return None
