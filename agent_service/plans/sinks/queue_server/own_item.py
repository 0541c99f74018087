"""Pause, resume and abort of a plan of ours at a queue server; nobody else's is ever meant.

The manager's commands name no item. So it is looked before and after each whether what runs is ours; a pause that met
somebody else's plan, which began in between, is taken back.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from agent_service.errors import texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_service.plans.sinks.hold import Hold
    from agent_service.plans.sinks.queue_server.manager import Manager
    from agent_service.plans.sinks.queue_server.queued_plan import QueuedPlan

_log = logging.getLogger(__name__)


class Steering:
    """Brings the plan that runs to where people want it, a step each time that it is looked at.

    Attributes
    ----------
    resume
        Whether a person wants one that is paused to go on.
    refused
        Why the manager did not do what was asked of it last, as with somebody's lock; None: it did.
    """

    def __init__(self, manager: Manager, hold: Hold) -> None:
        self.resume = False
        self.refused: str | None = None
        self._manager = manager
        self._hold = hold
        self._met: str | None = None

    async def steer(self, plan: QueuedPlan) -> None:
        """Do what is next with a plan that runs."""
        if plan.abort_reason is not None:
            if not self._manager.worker_died:
                await self._abort(plan)
        elif self._hold.paused is not None and not plan.pause_asked and self._manager.state != "paused":
            plan.pause_asked = await self._pause(plan, "deferred")
        elif self.resume and self._manager.state == "paused":
            self.resume = plan.pause_asked = not await self._command("re_resume", plan)
        elif self.resume and not self._manager.status.get("pause_pending"):
            self.resume = plan.pause_asked = False
        else:
            self.refused = None

    async def undo(self, ours: Iterable[QueuedPlan]) -> None:
        """Let somebody else's plan go on that a pause of ours met."""
        if not any(plan.running for plan in ours):
            self.resume, self.refused = False, None
        if self._met is None:
            return
        if self._manager.running_uid != self._met:
            self._met = None
        elif self._manager.state == "paused":
            _log.warning("a plan of somebody else was paused by us, for it began as ours was to be paused; it goes on")
            if (await self._manager.client.ask("re_resume")).get("success"):
                self._met = None

    async def _abort(self, plan: QueuedPlan) -> None:
        if self._manager.state == "paused":
            await self._command("re_abort", plan)
        else:
            await self._pause(plan, "immediate")

    async def _pause(self, plan: QueuedPlan, option: str) -> bool:
        if not await self._command("re_pause", plan, option=option):
            return False
        await self._manager.look()
        if self._manager.running_uid not in (plan.item_uid, None):
            self._met = self._manager.running_uid
        return True

    async def _command(self, method: str, plan: QueuedPlan, **params: Any) -> bool:
        """Send a command if, a moment ago, what ran was this plan."""
        await self._manager.look()
        if self._manager.running_uid != plan.item_uid:
            return False
        answer = await self._manager.client.ask(method, **params)
        done = bool(answer.get("success"))
        lock: dict[str, Any] = self._manager.status.get("lock") or {}
        if done or not lock.get("environment"):
            self.refused = None if done else texts.one_line(str(answer.get("msg")))
        else:
            self.refused = await self._manager.whose_lock()
        return done
