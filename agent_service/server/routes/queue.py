"""The queue: what moves, and how to stop it."""

from __future__ import annotations

from fastapi import APIRouter

from agent_service.models import QueueStatus, RejectRequest
from agent_service.server.auth import CONTROL, READ
from agent_service.server.routes import ServiceDep

router = APIRouter(prefix="/queue", tags=["queue"])


@router.get("", dependencies=[READ])
async def queue(service: ServiceDep) -> QueueStatus:
    """Return what runs and what waits."""
    return service.supervisor.queue.status


@router.post("/pause", dependencies=[CONTROL])
async def pause(service: ServiceDep) -> QueueStatus:
    """Pause the plan under way at its next checkpoint, and hold back the next ones."""
    return _stopped(service, await service.supervisor.queue.pause())


@router.post("/resume", dependencies=[CONTROL])
async def resume(service: ServiceDep) -> QueueStatus:
    """Resume after a pause, or from held after an abort."""
    await service.supervisor.queue.resume()
    return service.supervisor.queue.status


@router.post("/abort", dependencies=[CONTROL])
async def abort(service: ServiceDep, request: RejectRequest | None = None) -> QueueStatus:
    """Stop everything: abort the plan under way and hold the queue until somebody resumes it."""
    return _stopped(service, await service.supervisor.queue.abort(request.reason if request else ""))


@router.post("/destroy-environment", dependencies=[CONTROL])
async def destroy_environment(service: ServiceDep) -> QueueStatus:
    """Destroy the environment of a queue server whose worker died. What ran there, anybody's, has failed."""
    await service.supervisor.queue.destroy_environment()
    return service.supervisor.queue.status


def _stopped(service: ServiceDep, caution: str) -> QueueStatus:
    """Return the queue, with a caution about a stop that is not in the journal yet."""
    status = service.supervisor.queue.status
    if not caution:
        return status
    return status.model_copy(update={"reason": f"{status.reason}; {caution}" if status.reason else caution})
