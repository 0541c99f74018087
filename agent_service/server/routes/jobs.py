"""Jobs: calls that took longer than the client wanted to wait."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from agent_service.models import Job, JobList
from agent_service.server.auth import CONTROL, READ
from agent_service.server.long_calls import PreferWaitDep
from agent_service.server.pagination import Cursor, Limit, page
from agent_service.server.routes import ServiceDep

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("", dependencies=[READ])
async def jobs(
    service: ServiceDep,
    agent: Annotated[str | None, Query(description="only this agent's jobs")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> JobList:
    """List the jobs, oldest first: those under way, and those that ended within the hour."""
    items, following = page(service.jobs.jobs(agent), limit=limit, cursor=cursor)
    return JobList(items=items, next=following)


@router.get("/{job_id}", dependencies=[READ])
async def job(service: ServiceDep, job_id: str, prefer: PreferWaitDep) -> Job:
    """Return a job; with `Prefer: wait=S`, when it has ended or after so many seconds."""
    work = service.jobs.find(job_id)
    await service.jobs.wait(work, prefer.wait_s or 0)
    return work.shown()


@router.delete("/{job_id}", dependencies=[CONTROL])
async def cancel(service: ServiceDep, job_id: str) -> Job:
    """Cancel a job: a waiting one is withdrawn without harm; a call under way is abandoned, and its agent fails."""
    return await service.jobs.cancel(job_id)
