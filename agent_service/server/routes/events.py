"""The event stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from agent_service.server import sse
from agent_service.server.pages import position
from agent_service.server.routes import ServiceDep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

router = APIRouter(tags=["events"])


@router.get("/events", response_class=EventSourceResponse)
async def events(
    service: ServiceDep,
    agent: Annotated[str | None, Query(description="only this agent's events, and the service's own")] = None,
    last_event_id: Annotated[str | None, Header(description="resume after this event")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream events; from now on, or after ``Last-Event-ID`` without a gap."""
    after = None if last_event_id is None else position(last_event_id)
    async for event in sse.stream(service, after=after, agent=agent):
        yield event
