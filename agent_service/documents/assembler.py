"""Putting documents that arrive interleaved together into runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from agent_service.documents.runs import Run, free_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.protocols import Document

_log = logging.getLogger(__name__)

MAX_OPEN_RUNS: Final = 64
"""Most runs put together at a time; the one that was opened first is forgotten for one more."""

MAX_DOCUMENTS: Final = 100_000
"""Most documents of a run kept in memory; a run with more is forgotten, as no outcome may come from a part of it."""


class RunAssembler:
    """Puts interleaved documents together into runs. Used from one thread; never raises for an odd document.

    Parameters
    ----------
    wanted
        Whether a run is of interest, by its start document; others are not kept. None: all are.
    max_open_runs, max_documents
        Bounds on what is kept in memory.

    Examples
    --------
    >>> runs = RunAssembler()
    >>> runs.add("start", {"uid": "a"}, "a")
    >>> runs.add("stop", {"uid": "b", "run_start": "a", "exit_status": "success"}, "a").uid
    'a'
    """

    def __init__(
        self,
        *,
        wanted: Callable[[Document], bool] | None = None,
        max_open_runs: int = MAX_OPEN_RUNS,
        max_documents: int = MAX_DOCUMENTS,
    ) -> None:
        self._wanted = wanted
        self._max_open_runs = max_open_runs
        self._max_documents = max_documents
        self._open: dict[str, list[tuple[str, Document]]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, name: str, document: Document, run: str) -> Run | None:
        """Add one document to its run, and return the run if this was its stop; it is forgotten then.

        Documents of a run whose start was not seen, or not wanted, are dropped.
        """
        if name == "start":
            self._begin(document, run)
            return None
        documents = self._open.get(run)
        if documents is None:
            return None
        documents.append((name, document))
        if name == "stop":
            return Run(tuple(self._open.pop(run)))
        if len(documents) > self._max_documents:
            _log.warning("run %s has more than %d documents: no outcome of it", run, self._max_documents)
            self.discard(run)
        return None

    def discard(self, run: str) -> None:
        """Forget a run, and drop what else comes of it."""
        free_elsewhere(self._open.pop(run, []))

    def _begin(self, start: Document, run: str) -> None:
        if not run or run in self._open or (self._wanted is not None and not self._wanted(start)):
            return
        if len(self._open) >= self._max_open_runs:
            oldest = next(iter(self._open))
            _log.warning("more than %d runs are open at once: run %s is forgotten", self._max_open_runs, oldest)
            self.discard(oldest)
        self._open[run] = [("start", start)]
