"""A plan for a blueapi, and which of the tasks that blueapi knows is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.plans.sinks.facility_plan import FacilityPlan

if TYPE_CHECKING:
    import asyncio

    from agent_service.plans.sinks.blueapi.rest import Task


class TaskPlan(FacilityPlan):
    """A plan and the task that blueapi has of it. Belongs to the event loop.

    Attributes
    ----------
    task_id
        What blueapi calls it, once it has it.
    posting
        What brings it there meanwhile, if anything does.
    post_unsure
        Whether a request to make a task of it may have arrived, though nobody said so.
    taken_back
        Why it is not to begin any more, where that was said while it was not known whether it had; else None.
    """

    def __init__(self, *given: Any, **about: Any) -> None:
        super().__init__(*given, **about)
        self.task_id: str | None = None
        self.posting: asyncio.Task[None] | None = None
        self.post_unsure = False
        self.taken_back: str | None = None

    def adopt(self, tasks: list[Task]) -> list[Task]:
        """Take its task out of those that blueapi knows, one that began first; return the others that wait."""
        mine = [task for task in tasks if task.md.get("agent_suggestion_uid") == self.key]
        mine.sort(key=lambda task: task.pending)
        if mine:
            self.task_id, self.begun = mine[0].id, not mine[0].pending
        return [task for task in mine[1:] if task.pending]
