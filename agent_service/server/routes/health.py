"""Health, for everybody: whether it lives and takes work. And metrics, for those who may read."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from agent_service.models import Readiness
from agent_service.server.auth import METRICS
from agent_service.server.not_ready import ALIVE
from agent_service.server.routes import ServiceDep, as_json, cached_answer

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Response:
    """Answer as long as the process lives."""
    return as_json(ALIVE)


@router.get("/readyz", responses={**cached_answer(Readiness), 503: {"model": Readiness, "description": "Not ready"}})
async def readyz(service: ServiceDep) -> Response:
    """Return whether the service takes work, part by part, and if not, why."""
    readiness = service.status.readiness()
    return as_json(readiness.model_dump_json().encode(), status=200 if readiness.ready else 503)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"description": "Successful Response", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    dependencies=[METRICS],
)
async def metrics(service: ServiceDep) -> Response:
    """Return what Prometheus collects: agents, suggestions, calls, the queue, the archive, and the event loop's lag."""
    return Response(service.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
