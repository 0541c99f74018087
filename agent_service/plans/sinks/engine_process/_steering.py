"""What people ask of the queue, whichever process there is: it is held, paused, aborted, and ends."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from agent_service.errors import BackendUnavailable, QueueHeld
from agent_service.models import QueueState, QueueStatus
from agent_service.protocols import SERVICE_STOPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.plans.sinks.engine_process._handed_plans import HandedPlans
    from agent_service.plans.sinks.engine_process._link import EngineLink

ABORTS_WITHIN_S: Final = 10.0
"""How long the process may take to answer an abort; then it is killed, for a stop always stops."""

_log = logging.getLogger(__name__)


class Steering:
    """Asks it of the process, and of the next one anew; belongs to the event loop."""

    def __init__(self, link: EngineLink, plans: HandedPlans, on_change: Callable[[], None]) -> None:
        self._link = link
        self._plans = plans
        self._on_change = on_change
        self._held: str | None = None
        self._paused = False
        self._overdue = False
        self.closing: str | None = None

    @property
    def paused(self) -> bool:
        """Whether no plan is to begin until somebody resumes."""
        return self._paused

    @property
    def stopped(self) -> str | None:
        """Why plans are being aborted, if they are."""
        return self.closing or self._held

    def shown(self, status: QueueStatus, in_the_way: str | None) -> tuple[QueueState, str | None]:
        """Return the state of the queue and why, where the process says ``status``."""
        if self._held is not None:
            says_more = status.state is QueueState.HELD and status.current is not None
            return QueueState.HELD, (status.reason if says_more else None) or self._held
        if status.state is not QueueState.PAUSED:
            if self._paused:
                return QueueState.PAUSED, "paused by request"
            if in_the_way is not None:
                return QueueState.SUSPENDED, in_the_way
        return status.state, status.reason

    def require_free(self) -> None:
        """Raise `QueueHeld` while the queue is held."""
        if self._held is not None:
            raise QueueHeld(f"the plan queue is held: {self._held}; resume the queue first", legal=["resume"])

    def latch(self, reason: str) -> None:
        """Hold the queue."""
        self._held, self._paused = reason, False
        self.ask_again()
        self._on_change()

    def ask_again(self) -> None:
        """Have a process begin held or paused, as the one before was."""
        if self._held is not None:
            self._link.tell("latch", self._held)
        elif self._paused:
            self._link.tell("pause")

    async def pause(self) -> None:
        """Pause, unless the queue is held."""
        self._paused = self._held is None
        self._link.tell("pause")
        self._on_change()
        await asyncio.sleep(0)  # it is on its way when the caller hears that it was asked for

    async def resume(self, *, paused: bool) -> None:
        """Resume; raises `BackendUnavailable` when there is no RunEngine, or its process does not answer.

        What was held, or ``paused`` by whomever, is so again then.
        """
        if self._link.up:
            try:
                await self._link.call("resume", timeout_s=ABORTS_WITHIN_S)
            except (BackendUnavailable, asyncio.CancelledError):
                self._paused = paused and self._held is None
                self.ask_again()  # behind the resume, of which nobody knows whether it is heard
                raise
        self._held, self._paused = None, False
        self._on_change()

    async def abort(self, reason: str) -> None:
        """Hold the queue and abort the plan under way.

        A process that does not answer is killed; so is one whose plan goes on though it was aborted once more.
        """
        self._held, self._paused = reason, False
        self._plans.take_back(self._plans.all, reason)
        self._on_change()
        if self._link.up:
            try:
                again, self._overdue = self._overdue, False
                self._overdue = not await self._link.call("abort", reason, timeout_s=ABORTS_WITHIN_S)
            except BackendUnavailable as error:
                await self._kill(reason, error.detail)
            else:
                if again and self._overdue:
                    self._overdue = False
                    await self._kill(reason, "its plan does not end")

    async def end(self, timeout_s: float) -> None:
        """Let the process end when its plan has, or kill it with the plan."""
        why = "its plan did not end in time"
        try:
            ended = await self._link.call("stop", SERVICE_STOPS, timeout_s, timeout_s=timeout_s + 1.0)
        except BackendUnavailable as error:
            ended, why = False, error.detail
        if ended:
            # one that has measured, and whose fate is not written, is for the service's next life
            self._link.send(*[("settled", plan.number) for plan in self._plans.all if not plan.has_measured])
            await self._link.quit()
        else:
            await self._kill(SERVICE_STOPS, why)

    async def _kill(self, reason: str, why: str) -> None:
        """Kill the process, if it is there, and wait until that is known."""
        if self._link.up:
            _log.error("the RunEngine's process is killed: %s", why)
            self._link.kill(reason)
            await self._plans.none_under_way(ABORTS_WITHIN_S)
            await self._link.gone()
