"""From a standby to the leader: what waits follows the journal meanwhile, so that it goes on within a moment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Final, NoReturn

from agent_service.agents.record.service import ServiceRecord
from agent_service.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent_service.agents.supervisor import Supervisor
    from agent_service.journal import JournalLog
    from agent_service.service.idempotency import Answers

LOST_THE_LEAD: Final = 75
"""Exit code of a service that another took over from (EX_TEMPFAIL): start it again, as a standby."""

_PAGE: Final = 5000
_LOOKS_EVERY_S: Final = 1.0

_log = logging.getLogger(__name__)


class _Behind(BackendUnavailable):
    """What a standby has not read is no longer there one by one."""


class JournalFold:
    """Takes in what the journal says, a part at a time; belongs to the event loop."""

    def __init__(self, journal: JournalLog, supervisor: Supervisor, answers: Answers) -> None:
        self.seq = 0
        self.until: datetime | None = None
        self._journal = journal
        self._supervisor = supervisor
        self._answers = answers

    async def go_on(self) -> None:
        """Take in what is there by now; `seq` is the last fact then, and `until` its time."""
        if not self.seq and (snapshot := await asyncio.to_thread(self._journal.snapshot)) is not None:
            self.seq, record = snapshot
            self._supervisor.restore(ServiceRecord.from_json(record))
        while events := await asyncio.to_thread(self._journal.read, after=self.seq, limit=_PAGE):
            if events[0].seq != self.seq + 1:
                raise _Behind(
                    f"the facts after {self.seq} went into a snapshot before this standby had read them; start it again"
                )
            for event in events:
                self._supervisor.apply(event)
                self._answers.on_fact(event)
            self.seq, self.until = events[-1].seq or self.seq, events[-1].time


async def stand_by(journal: JournalLog, fold: JournalFold, say: Callable[[str], None]) -> None:
    """Return when no other service writes the journal; what that one writes is taken in meanwhile."""
    given_up = threading.Event()
    turn = asyncio.ensure_future(asyncio.to_thread(journal.await_turn, given_up))
    try:
        await asyncio.wait({turn}, timeout=_LOOKS_EVERY_S)
        if not turn.done():
            _log.warning("this service stands by")
        while not turn.done():
            try:
                await fold.go_on()
                say("standing by: another service leads")
                await asyncio.to_thread(journal.wait, after=fold.seq, within_s=_LOOKS_EVERY_S / 4)
            except _Behind:
                raise
            except BackendUnavailable:  # the wait for the turn logs why
                say("standing by: the journal cannot be read now, and its log says why")
                await asyncio.wait({turn}, timeout=_LOOKS_EVERY_S)
        await turn
        say("starting")
    finally:
        given_up.set()
        with contextlib.suppress(Exception):  # it was raised above
            await asyncio.shield(turn)


def ends_at_once(reason: str) -> NoReturn:
    """End this process, and do nothing more: what it had begun is another service's by now."""
    _log.critical("this service ends: %s", reason)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(LOST_THE_LEAD)
