"""From any error of ours to the problem that a client is told."""

from __future__ import annotations

from agent_service import errors
from agent_service.models import Problem, ProblemField


def described(error: errors.ServiceError, *, request_id: str | None, status: int | None = None) -> Problem:
    """Return an error as a problem."""
    return Problem(
        type=f"urn:agent-service:problem:{error.code}",
        title=error.title,
        status=status or error.status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
        errors=[ProblemField(field=wrong.field, message=wrong.message) for wrong in error.errors],
        legal=list(error.legal),
        traceback=error.traceback if isinstance(error, errors.AgentFault) else None,
    )


def unforeseen(request_id: str | None) -> errors.ServiceError:
    """Return what a client may know of a bug of ours, which is in the log."""
    detail = "the service failed unexpectedly; its log has the details under this request id"
    return errors.ServiceError(detail if request_id else "the service failed unexpectedly; its log has the details")
