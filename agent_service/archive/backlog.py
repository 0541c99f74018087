"""What of a state directory is not in its catalogue: what waits to be written, and what was refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_service.archive.messages import Lag
from agent_service.documents.spool_files import SpoolFiles
from agent_service.errors import ServiceError, texts
from agent_service.journal import reader

if TYPE_CHECKING:
    from agent_service.state_dir import StateDir


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many runs, and how many decisions (facts of the journal), are not in the catalogue."""

    runs: int
    decisions: int

    @classmethod
    def of(cls, state: StateDir) -> Backlog:
        """Count them, without a service; may be called while one runs."""
        runs = len(SpoolFiles(state.spool).complete()) if state.spool.exists() else 0
        return cls(runs, _facts(state))

    def __str__(self) -> str:
        return counted(self.runs, self.decisions)


def counted(runs: int, decisions: int) -> str:
    """Say how many runs and decisions; an empty text for none at all."""
    parts = [texts.counted(count, what) for count, what in ((runs, "run"), (decisions, "decision")) if count]
    return " and ".join(parts)


def lag_of(spool: SpoolFiles, *, newest: int, written: int, decisions_refused: int) -> Lag:
    """Return what is still to be written, when ``newest`` is the newest fact and ``written`` the last written one."""
    return Lag(
        runs=len(spool.complete()),
        facts=max(0, newest - written),
        written=written,
        refused=len(spool.refused()),
        decisions_refused=decisions_refused,
    )


def written_seq(state: StateDir) -> int:
    """Return the number of the last fact that is in the catalogue, or was refused; may raise `ServiceError`."""
    snapshot = reader(state.journal_url).snapshot()
    try:
        written = int(json.loads(state.catalog_cursor.read_bytes())["seq"])
    except (OSError, ValueError, KeyError, TypeError):
        written = 0
    return max(written, 0 if snapshot is None else snapshot[1]["outbox"]["seq"])


def _facts(state: StateDir) -> int:
    try:
        return max(0, reader(state.journal_url).last_seq() - written_seq(state))
    except ServiceError:
        return 0
