"""Which runs have ended, across restarts: a broker or a catalogue gives them again, and each counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_service.documents.gate import MAX_ENDED_RUNS
from agent_service.documents.json_lines import append
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from pathlib import Path

_MAX_LINES: Final = 3 * MAX_ENDED_RUNS


class EndedRuns:
    """A file with the uid of each run that ended, a line each; written in the intake's thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, run: str) -> None:
        """Write that a run ended; raises `OSError`."""
        append(self._path, run.replace("\n", " "))

    def read(self) -> list[str]:
        """Return the uids of the last runs that ended, and forget older ones; call it before any `add`."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        last = lines[-MAX_ENDED_RUNS:]
        if len(lines) > _MAX_LINES:
            private_files.write(self._path, "\n".join([*last, ""]))
        return last
