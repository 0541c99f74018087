"""What the journal knows of the plan queue: commands of people, claims and moves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Literal

from agent_service.context import be_patient
from agent_service.errors import BackendUnavailable, texts
from agent_service.models import EventKind, QueueState
from agent_service.protocols import MOVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.journal import JournalLog
    from agent_service.models import Event, Point
    from agent_service.protocols import PlanResult

_log = logging.getLogger(__name__)


class QueueFacts:
    """Writes the facts of the queue, each with its ``state`` at that time, and folds them after a restart.

    Attributes
    ----------
    last_state, last_reason, last_by
        How the last command left the queue, why it is held, and whose key gave the command.
    """

    def __init__(self, journal: JournalLog, state: Callable[[], QueueState]) -> None:
        self._journal = journal
        self._state = state
        self.last_state = QueueState.IDLE
        self.last_reason = ""
        self.last_by: str | None = None
        self._unwritten: asyncio.Task[None] | None = None

    def apply(self, event: Event) -> None:
        """Fold a fact about the queue, so that a hold and a pause survive a restart of the service."""
        if event.data.get("command") in ("pause", "resume", "abort"):
            self.last_state = QueueState(str(event.data["state"]))
            self.last_reason = str(event.data.get("reason") or "aborted")
            by = event.data.get("by")
            self.last_by = None if by is None else str(by)

    async def write(self, command: str, reason: str | None, state: QueueState | None = None) -> None:
        """Write a command, with the state that it leads to where that is not the present one."""
        data = {"command": command, "state": state or self._state(), "reason": reason}
        await self._journal.append(EventKind.QUEUE_STATE, None, data)

    async def write_stop(self, command: str, reason: str | None, state: QueueState) -> str:
        """Write a stop that has happened, or begin to write it as soon as that can be; return what to say then."""
        try:
            await self.write(command, reason, state)
        except BackendUnavailable as error:
            _log.error("%s could not be written: %s", command, error.detail)
            self._unwritten = asyncio.create_task(self._write_later(command, reason), name=f"write:{command}")
            return (
                f"the queue is {self._state()}, and nothing begins; it is not written yet ({error.detail}), and a "
                "restart of the service before that forgets it"
            )
        return ""

    async def _write_later(self, command: str, reason: str | None) -> None:
        be_patient()
        with contextlib.suppress(BackendUnavailable):  # the service ends: whoever asked was told
            await self.write(command, reason)

    async def write_move(self, agent: str, point: Point) -> None:
        """Write that actuators are about to move for an agent, without a run."""
        await self._journal.append(
            EventKind.QUEUE_STATE, agent, self._of_agent("move", reason=None, point=point, plan=MOVE)
        )

    def note_moved(self, agent: str, point: Point, result: PlanResult) -> None:
        """Write how a move ended; until that is written, and if it cannot be, it counts as made."""
        took_s = result.took_s
        fact = self._of_agent(
            "moved", reason=result.reason or None, point=point, begun=took_s is not None, run_time_s=took_s
        )
        with contextlib.suppress(BackendUnavailable):
            written = self._journal.post(EventKind.QUEUE_STATE, agent, fact)
            written.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def write_claim(
        self,
        command: Literal["claim", "release"],
        suggestion_id: str,
        *,
        agent: str,
        reason: str = "",
        **terms: Any,
    ) -> None:
        """Write who claimed a suggestion on which ``terms``, or how a claim ended: ``by`` is the key of the request."""
        fact = self._of_agent(command, reason=texts.one_line(reason) or None, suggestion=suggestion_id)
        await self._journal.append(EventKind.QUEUE_STATE, agent, {**fact, **terms})

    def _of_agent(self, command: str, *, reason: str | None, **what: Any) -> dict[str, Any]:
        return {"command": command, **what, "state": self._state(), "reason": reason}
