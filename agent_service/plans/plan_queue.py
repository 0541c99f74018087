"""The plan queue as people steer it: pause, resume, abort, each a fact; an abort latches until somebody resumes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent_service import context
from agent_service.context import be_patient
from agent_service.errors import BackendUnavailable, Conflict, OutOfBounds, QueueHeld, ServiceError, texts
from agent_service.models import EventKind, QueueState
from agent_service.plans.queue_facts import QueueFacts
from agent_service.protocols import ExitStatus, HasEnvironment, MeasuredBy, PlanResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_service.journal import JournalLog
    from agent_service.models import Point, QueueStatus
    from agent_service.protocols import PlanSink


class PlanQueue:
    """Steers the plan sink, and has each command written into the journal by ``facts``; belongs to the event loop.

    ``on_hold`` is awaited with ``(held, reason)`` whenever the latch falls or is released; ``on_suspend`` is called
    with why the RunEngine is suspended, which is ``suspended`` then, and with None when it goes on.
    """

    def __init__(
        self,
        sink: PlanSink,
        *,
        journal: JournalLog,
        on_hold: Callable[[bool, str], Awaitable[None]],
        on_suspend: Callable[[str | None], None],
    ) -> None:
        self.sink = sink
        self.facts = QueueFacts(journal, lambda: self.status.state)
        self._journal = journal
        self._on_hold = on_hold
        self._on_suspend = on_suspend
        self._unmet: str | None = None
        self.suspended: str | None = None
        self._held = self._aborting = False
        self._paused_by: str | None = None
        self._telling_of_hold: asyncio.Task[None] | None = None

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits, from memory; idle with a condition that is not met, it is suspended."""
        status = self.sink.status
        if self._paused_by and status.state is QueueState.PAUSED and status.reason:
            status = status.model_copy(
                update={"reason": status.reason.replace("paused by request", f"paused by {self._paused_by}")}
            )
        if self._unmet is None:
            return status
        if status.state is QueueState.IDLE:
            return status.model_copy(update={"state": QueueState.SUSPENDED, "reason": self._unmet})
        also = f"{status.reason}; besides, it is suspended: {self._unmet}" if status.reason else self._unmet
        return status.model_copy(update={"reason": also})

    @property
    def held(self) -> bool:
        """Whether somebody aborted and nobody resumed since."""
        return self.sink.status.state is QueueState.HELD

    @property
    def ends_by_itself(self) -> bool:
        """Whether the plan under way is on its way to an end, here: it stands not still, nor is it in other hands."""
        return self.sink.plans_end_here and self.sink.status.state not in (QueueState.PAUSED, QueueState.SUSPENDED)

    def refuse_held(self) -> None:
        """Raise `QueueHeld` while the queue is held."""
        if self.held:
            raise QueueHeld(
                f"the plan queue is held ({self.sink.status.reason or 'somebody aborted'}): nothing moves until "
                "somebody resumes it",
                legal=["resume"],
            )

    async def start(self) -> None:
        """Begin to take plans; held or paused, if the journal says so."""
        self.sink.start(self._changed)
        if self.facts.last_state is QueueState.HELD:
            self.sink.latch(self.facts.last_reason)
        elif self.facts.last_state is QueueState.PAUSED:
            self._paused_by = self.facts.last_by
            await self.sink.pause()

    async def pause(self) -> str:
        """Pause the plan under way at its next checkpoint, and hold back the next ones; acts and answers as `abort`."""
        self._paused_by = context.acting()
        await self.sink.pause()
        return await self.facts.write_stop("pause", self.sink.status.reason, self.sink.status.state)

    async def resume(self) -> None:
        """Go on, and release the latch; the agents that the hold paused go on too. This is written first."""
        going = QueueState.IDLE if self.sink.status.current is None else QueueState.RUNNING
        await self.facts.write("resume", None, going)
        try:
            await self.sink.resume()
        except ServiceError as error:
            state = self.sink.status.state
            if state in (QueueState.PAUSED, QueueState.HELD):  # and a restart shall find it so
                command = "abort" if state is QueueState.HELD else "pause"
                await self.facts.write_stop(command, f"it could not be resumed: {error.detail}", state)
            raise
        self._paused_by = None

    async def abort(self, reason: str) -> str:
        """Stop everything: abort the plan and latch. This acts first and writes second: a stop must not wait.

        It is written while the plan ends, which may take long elsewhere: a service killed meanwhile comes back held.

        Returns what to know of it when it cannot be written now, as on a full disk; else nothing.
        """
        who, reason = context.person(), texts.one_line(reason)
        by = f"aborted by {who}"
        reason = f"{reason} ({by})" if reason and who != context.A_PERSON else reason or by
        self._aborting = True
        aborting = asyncio.ensure_future(self.sink.abort(reason))
        await asyncio.sleep(0)  # it is latched from here on
        try:
            return await self.facts.write_stop("abort", reason, QueueState.HELD)
        finally:
            self._aborting = False
            await asyncio.shield(aborting)

    async def destroy_environment(self) -> None:
        """Destroy the environment of a queue server whose worker died; this is written first.

        Raises `Conflict` where plans go elsewhere, or the worker is not known to have died.
        """
        if not (isinstance(self.sink, HasEnvironment) and self.status.can_destroy):
            raise Conflict(
                "there is no environment to be destroyed: plans do not go to a queue server, or its worker is not "
                "known to have died; whoever looks after a queue server may destroy its environment there"
            )
        await self.facts.write("destroy-environment", self.status.reason)
        await self.sink.destroy_environment()

    def note_unmet(self, reason: str | None) -> None:
        """Let the status say that a condition is not met, so that no plan of an agent begins; None: all are."""
        self._unmet = reason
        self._changed()

    def withdraw(self, agent: str, reason: str) -> None:
        """Take back an agent's plans that wait; one that is under way goes on."""
        self.sink.withdraw(agent, reason)

    async def move(self, agent: str, point: Point, *, despite_conditions: bool = False) -> None:
        """Move actuators to a point, for an agent, without a run. It counts as a plan of the agent's.

        Raises `OutOfBounds` when a guardrail forbade it when its turn had come, `BackendUnavailable` when the move
        failed or was aborted, `Conflict` when this service moves nothing itself.
        """
        self.refuse_held()
        if self.status.state is QueueState.PAUSED:
            raise Conflict(
                "the plan queue is paused, so nothing can move now; resume the queue first", legal=["resume"]
            )
        if not self.sink.moves:  # it can only say so: nothing moves that would have to be written first
            await self.sink.move(point)
        await self.facts.write_move(agent, point)
        try:
            result = await self.sink.move(point, agent=agent, despite_conditions=despite_conditions)
        except ServiceError:  # it was not taken
            self.facts.note_moved(agent, point, PlanResult(ExitStatus.ABORT, begun=False))
            raise
        self.facts.note_moved(agent, point, result)
        if result.exit_status is ExitStatus.REJECTED:
            raise OutOfBounds(result.reason)
        if result.exit_status is not ExitStatus.SUCCESS:
            raise BackendUnavailable(f"the move failed: {result.reason}")

    def _changed(self) -> None:
        status = self.sink.status
        self._journal.publish(EventKind.PROGRESS, None, {"queue": self.status.model_dump(mode="json")})
        suspended = status.reason if status.state is QueueState.SUSPENDED else None
        if suspended != self.suspended:
            self.suspended = suspended
            self._on_suspend(suspended)
        if self.held != self._held:
            self._held = self.held
            self._telling_of_hold = asyncio.ensure_future(
                self._follow_hold(f"the queue is held: {status.reason or 'aborted'}")
            )

    async def _follow_hold(self, reason: str) -> None:
        be_patient()
        by_itself = self._held and not self._aborting and self.facts.last_state is not QueueState.HELD
        if by_itself and self.sink.measured_by is MeasuredBy.FACILITY:  # where a person stopped it, perhaps
            await self.facts.write_stop("abort", self.sink.status.reason, QueueState.HELD)
        await self._on_hold(self._held, reason)
