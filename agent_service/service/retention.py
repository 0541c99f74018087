"""How long the journal keeps its facts one by one: older ones go into a snapshot, so that a service runs for months."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agent_service.archive.decisions import load_fold
from agent_service.errors import BackendUnavailable
from agent_service.models import utcnow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent_service.journal import JournalLog
    from agent_service.service.config import ServiceSection

LOOKS_EVERY_S: Final = 600.0
WORTH_IT: Final = 0.1
"""Part of ``keep_facts`` by which the journal has to be longer before it is compacted."""

_log = logging.getLogger(__name__)


class Retention:
    """Compacts the journal now and then; belongs to the event loop.

    ``await fold(seq, forget)`` returns a snapshot of the facts up to ``seq``; those up to ``forget`` are to go, see
    `snapshot_process`. What the archive has yet to write, by its ``cursor``, is in the snapshot, and stays by itself.
    """

    def __init__(
        self,
        journal: JournalLog,
        config: ServiceSection,
        *,
        cursor: Path | None,
        fold: Callable[[int, int], Awaitable[str]],
    ) -> None:
        self._journal = journal
        self._config = config
        self._cursor = cursor
        self._fold = fold
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at the journal now, and then every ten minutes."""
        self._task = asyncio.create_task(self._run(), name="retention")

    def stop(self) -> None:
        """End; a snapshot that is being written is written."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self.compact()
            except BackendUnavailable as error:
                _log.warning("the journal was not compacted: %s", error.detail)
            except Exception:  # noqa: BLE001 - the facts are all there still; logged, and tried again
                _log.exception("the journal was not compacted")
            await asyncio.sleep(LOOKS_EVERY_S)

    async def compact(self) -> bool:
        """Write a snapshot, and delete what is older than the limits; return whether there was enough of it."""
        seq, forget = await asyncio.to_thread(self._limits)
        new = max(seq - self._journal.seqs.snapshot, forget - self._journal.seqs.forgotten)
        if new < max(1, WORTH_IT * self._config.keep_facts):
            return False
        await self._journal.compact(await self._fold(seq, forget), seq=seq, forget=forget)
        _log.info("facts up to %d went into a snapshot", seq)
        return True

    def _limits(self) -> tuple[int, int]:
        """Return the last fact for the snapshot, and the last one that nobody needs by itself then."""
        seqs = self._journal.seqs
        old = self._journal.last_before(utcnow() - timedelta(days=self._config.keep_days))
        limit = max(old, seqs.last - self._config.keep_facts)
        written = limit if self._cursor is None else load_fold(self._cursor).seq
        return seqs.last, max(min(limit, written), seqs.forgotten)
