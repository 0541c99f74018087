"""The plan queue as people steer it: pause, resume, abort, each a fact; an abort latches until somebody resumes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from agent_service import actor
from agent_service.errors import BackendUnavailable, Conflict, QueueHeld
from agent_service.journal import be_patient
from agent_service.models import EventKind, QueueState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_service.models import Event, Point, QueueStatus
    from agent_service.protocols import Journal, PlanSink


class PlanQueue:
    """Steers the plan sink; belongs to the event loop.

    Parameters
    ----------
    sink
        Where plans go.
    journal
        Where the commands are written.
    on_hold
        Awaited with ``(held, reason)`` whenever the latch falls or is released.
    """

    def __init__(self, sink: PlanSink, *, journal: Journal, on_hold: Callable[[bool, str], Awaitable[None]]) -> None:
        self.sink = sink
        self._journal = journal
        self._on_hold = on_hold
        self._held = False
        self._last_state = QueueState.IDLE
        self._last_reason = ""
        self._told: asyncio.Task[None] | None = None

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits, from memory."""
        return self.sink.status

    @property
    def held(self) -> bool:
        """Whether somebody aborted and nobody resumed since."""
        return self.sink.status.state is QueueState.HELD

    @property
    def ends_by_itself(self) -> bool:
        """Whether the plan under way is on its way to an end, here: it is not paused, nor in somebody else's hands."""
        return self.sink.plans_end_here and self.status.state is not QueueState.PAUSED

    def refuse_held(self) -> None:
        """Raise `QueueHeld` while the queue is held."""
        if self.held:
            raise QueueHeld(
                "the plan queue is held since somebody aborted; resume the queue first: POST /api/v1/queue/resume",
                legal=["resume"],
            )

    def apply(self, event: Event) -> None:
        """Take a fact about the queue in, so that a hold and a pause survive a restart of the service."""
        if event.data.get("command") in ("pause", "resume", "abort"):
            self._last_state = QueueState(str(event.data["state"]))
            self._last_reason = str(event.data.get("reason") or "aborted")

    async def start(self) -> None:
        """Begin to take plans; held or paused, if the journal says so."""
        self.sink.start(self._changed)
        if self._last_state is QueueState.HELD:
            self.sink.latch(self._last_reason)
        elif self._last_state is QueueState.PAUSED:
            await self.sink.pause()

    async def pause(self) -> None:
        """Pause the plan under way at its next checkpoint, and hold back the next ones."""
        await self.sink.pause()
        await self._fact("pause", None)

    async def resume(self) -> None:
        """Go on, and release the latch; the agents that the hold paused go on too."""
        await self.sink.resume()
        await self._fact("resume", None)

    async def abort(self, reason: str) -> None:
        """Stop everything: abort the plan and latch. This acts first and writes second: a stop must not wait."""
        who = actor.person()
        said = f"{reason} (aborted by {who})" if reason and who != actor.A_PERSON else reason or f"aborted by {who}"
        await self.sink.abort(said)
        await self._fact("abort", said)

    def withdraw(self, agent: str, reason: str) -> None:
        """Take back an agent's plans that wait; one that is under way goes on."""
        self.sink.withdraw(agent, reason)

    async def move(self, agent: str, point: Point) -> None:
        """Move actuators to a point, for an agent, without a run.

        Raises
        ------
        BackendUnavailable
            When the move failed or was aborted.
        Conflict
            When this service moves nothing itself.
        """
        self.refuse_held()
        if self.status.state is QueueState.PAUSED:
            raise Conflict(
                "the plan queue is paused, so nothing can move now; resume the queue first", legal=["resume"]
            )
        if self.sink.kind == "claim":  # it can only say so: nothing moves that would have to be written first
            await self.sink.move(point)
        fact = {"command": "move", "point": point, "state": self.status.state, "reason": None}
        await self._journal.append(EventKind.QUEUE_STATE, agent, fact)
        result = await self.sink.move(point)
        if result.exit_status != "success":
            raise BackendUnavailable(f"the move failed: {result.reason}")

    async def note(
        self, command: Literal["claim", "release"], suggestion_id: str, *, agent: str, reason: str = ""
    ) -> None:
        """Write who claimed a suggestion, or gave a claim back: the fact's ``by`` is the key of the request."""
        data = {"command": command, "suggestion": suggestion_id, "state": self.status.state, "reason": reason or None}
        await self._journal.append(EventKind.QUEUE_STATE, agent, data)

    async def _fact(self, command: str, reason: str | None) -> None:
        data = {"command": command, "state": self.status.state, "reason": reason or self.status.reason}
        await self._journal.append(EventKind.QUEUE_STATE, None, data)

    def _changed(self) -> None:
        status = self.status
        self._journal.publish(EventKind.PROGRESS, None, {"queue": status.model_dump(mode="json")})
        if self.held != self._held:
            self._held = self.held
            self._told = asyncio.ensure_future(self._tell(f"the queue is held: {status.reason or 'aborted'}"))

    async def _tell(self, reason: str) -> None:
        be_patient()
        await self._on_hold(self._held, reason)
