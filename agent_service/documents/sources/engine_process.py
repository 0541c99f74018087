"""The documents of the service's RunEngine where that has a process of its own.

They come over the connection to it, each with a number: what is on disk here is said to be stored, and forgotten there.
A run that the process does not end any more gets a stop document that says so.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from agent_service.documents.run_of_document import PARTS, runs_named
from agent_service.documents.sources.presence import Presence
from agent_service.documents.spool_repair import RunSurvey

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import SourceStatus
    from agent_service.protocols import Document, Intake

_SAID_WITHIN_S: Final = 0.05
"""How soon it is said what is stored, once for all that is by then."""

_log = logging.getLogger(__name__)


class EngineProcessSource:
    """Source ``run_engine`` of a process; belongs to the event loop, but for what says otherwise.

    Where ``says_stored``, documents are kept on disk here, so that the process need not keep them: ``on_stored`` is
    called with a number, up to which they are. ``taken`` is the number of the document that came last.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, says_stored: bool) -> None:
        self._loop = loop
        self._says_stored = says_stored
        self._intake: Intake | None = None
        self._open: dict[str, RunSurvey] = {}
        self._run_of_part: dict[str, str] = {}
        self._last_scan_id = 0
        self._stored = 0
        self._saying = False
        self._resumed = False
        self._cut: str | None = None
        self.taken = 0
        self.presence = Presence("run_engine")
        self.on_stored: Callable[[int], None] = lambda seq: None

    @property
    def status(self) -> SourceStatus:
        """How it is at present."""
        return self.presence.status

    @property
    def numbering(self) -> dict[str, Any]:
        """Where the numbers of runs go on from, as metadata."""
        return {"scan_id": self._last_scan_id} if self._last_scan_id else {}

    def start(self, intake: Intake) -> None:
        """Begin to put documents into the intake."""
        self._intake = intake
        self.presence.connected()

    def stop(self) -> None:
        """Put no more; harmless the second time. What is open is gone on with by `resume`."""
        self._intake, self._open = None, {}

    def resume(self, runs: Sequence[Sequence[tuple[str, Document]]]) -> None:
        """Go on with runs of which there are documents already; end them if their process has ended meanwhile."""
        self._resumed = True
        for documents in runs:
            for name, document in documents:
                self._survey(name, document)
        if self._cut is not None:
            resumed = {str(documents[0][1].get("uid")) for documents in runs}
            self._end({uid: survey for uid, survey in self._open.items() if uid in resumed}, self._cut)

    def take(self, seq: int, name: str, document: Document) -> None:
        """Take a document of the process."""
        self.taken = seq
        try:
            self._survey(name, document)
        except Exception:  # noqa: BLE001 - whoever routes it may know better
            _log.exception("an odd %s document was not looked at; it is handed on all the same", name)
        if self._intake is None:
            return
        stored = partial(self._note_stored, seq) if self._says_stored else None
        try:
            self._intake.put(name, document, stored)
        except Exception:  # noqa: BLE001 - it must not keep others from what comes with it
            _log.exception("a %s document was not taken", name)

    def interrupt(self, reason: str) -> list[str]:
        """End the runs that are open, for the process does not any more; return their uids."""
        if not self._resumed:
            self._cut = reason
        return self._end(dict(self._open), reason)

    def _end(self, surveys: Mapping[str, RunSurvey], reason: str) -> list[str]:
        for uid, survey in surveys.items():
            self._open.pop(uid, None)
            if self._intake is not None:
                self._intake.put("stop", survey.stop_document(exit_status="fail", reason=reason))
        return list(surveys)

    def _survey(self, name: str, document: Document) -> None:
        if name == "start":
            self._open[str(document.get("uid"))] = RunSurvey()
            if isinstance(number := document.get("scan_id"), int):
                self._last_scan_id = max(self._last_scan_id, number)
        run = str(document.get("uid")) if name == "start" else next(runs_named(document, self._run_of_part), "")
        if name in PARTS:
            self._run_of_part[str(document.get("uid"))] = run
        if name == "stop":
            self._open.pop(run, None)
            self._run_of_part = {part: of for part, of in self._run_of_part.items() if of != run}
        elif run in self._open:
            self._open[run].look_at(name, document)

    def _note_stored(self, seq: int) -> None:
        """Have it said that a document is on disk; in the intake's thread."""
        self._stored = seq
        if not self._saying:
            self._saying = True
            self._loop.call_soon_threadsafe(self._loop.call_later, _SAID_WITHIN_S, self._say_stored)

    def _say_stored(self) -> None:
        self._saying = False
        self.on_stored(self._stored)
