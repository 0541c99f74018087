"""The queue, its conditions and the documents of its plans as methods, written once for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.client._calls import API, Call, listed, one, route, segment
from agent_service.models import ConditionStatus, DocumentsAnswer, QueueStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class QueueRoutes:
    """The queue, its conditions and its documents."""

    @route
    def queue(self) -> Call[QueueStatus]:
        """Return the plan that the queue runs, and those that wait."""
        return one("GET", f"{API}/queue", QueueStatus)

    @route
    def pause_queue(self) -> Call[QueueStatus]:
        """Pause: the plan under way stops at its next checkpoint, and no other begins."""
        return one("POST", f"{API}/queue/pause", QueueStatus)

    @route
    def resume_queue(self) -> Call[QueueStatus]:
        """Resume after a pause, or from ``held`` after an abort."""
        return one("POST", f"{API}/queue/resume", QueueStatus)

    @route
    def destroy_environment(self) -> Call[QueueStatus]:
        """Destroy the environment of a queue server whose worker died. What ran there, anybody's, has failed."""
        return one("POST", f"{API}/queue/destroy-environment", QueueStatus)

    @route
    def abort_queue(self, reason: str = "") -> Call[QueueStatus]:
        """Abort the plan under way and hold the queue: nothing moves until somebody resumes it."""
        return one("POST", f"{API}/queue/abort", QueueStatus, {"reason": reason})

    @route
    def conditions(self) -> Call[list[ConditionStatus]]:
        """Return the conditions for a measurement, as the beam, and whether they are met."""
        return listed(f"{API}/conditions", ConditionStatus)

    @route
    def switch_condition(self, name: str, *, on: bool, reason: str = "") -> Call[ConditionStatus]:
        """Switch a condition on, or off (it counts no more until it is switched on); return it.

        Raises
        ------
        NotFound
            When there is no such condition.
        """
        path = f"{API}/conditions/{segment(name)}/{'on' if on else 'off'}"
        return one("POST", path, ConditionStatus, {"reason": reason})

    @route
    def post_documents(self, documents: Sequence[tuple[str, Mapping[str, Any]]]) -> Call[int]:
        """Post Bluesky documents, as ``(name, document)`` pairs in order; return how many were accepted."""

        def read(answer: Any) -> int:
            return DocumentsAnswer.model_validate(answer).accepted

        return Call("POST", f"{API}/documents", read, body={"documents": documents})
