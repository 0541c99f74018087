"""The event stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from agent_service.server import sse
from agent_service.server.routes import ServiceDep

router = APIRouter(tags=["events"])


@router.get("/events", response_class=EventSourceResponse)
async def events(
    service: ServiceDep,
    agent: Annotated[str | None, Query(description="only this agent's events, and the service's own")] = None,
    last_event_id: Annotated[int | None, Header(ge=0, description="resume after this event")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream events; from now on, or after ``Last-Event-ID`` without a gap."""
    async for event in sse.stream(service, after=last_event_id, agent=agent):
        yield event
