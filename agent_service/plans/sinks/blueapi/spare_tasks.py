"""Tasks of ours that are not to begin: they are deleted at blueapi, where they would wait for a person."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from agent_service.errors import ServiceError

if TYPE_CHECKING:
    from agent_service.plans.sinks.blueapi.rest import BlueapiRest
    from agent_service.plans.sinks.blueapi.task_plan import TaskPlan

_TIDY_S: Final = 2.0
"""How long the end of the sink may take to delete tasks."""


class SpareTasks:
    """Deletes tasks in the background. Belongs to the event loop."""

    def __init__(self, rest: BlueapiRest) -> None:
        self._rest = rest
        self._deleting: set[asyncio.Task[None]] = set()

    def tidied(self, plan: TaskPlan) -> TaskPlan:
        """Let a plan's task be deleted if the plan ends before it began."""
        plan.ended.add_done_callback(lambda _: self.tidy(plan))
        return plan

    def tidy(self, plan: TaskPlan) -> None:
        """Delete the task of a plan that has ended, unless it began."""
        if not plan.begun and plan.task_id is not None:
            self.delete(plan.task_id)

    def delete(self, task_id: str) -> None:
        """Begin to delete a task."""

        async def delete() -> None:
            with contextlib.suppress(ServiceError):
                await self._rest.delete(task_id)

        deleting = asyncio.create_task(delete(), name=f"delete {task_id}")
        self._deleting.add(deleting)
        deleting.add_done_callback(self._deleting.discard)

    async def stop(self, timeout_s: float) -> None:
        """Wait a while for what is being deleted."""
        if self._deleting:
            await asyncio.wait(self._deleting, timeout=min(timeout_s, _TIDY_S))
