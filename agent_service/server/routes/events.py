"""The event stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from agent_service.models import EventKind
from agent_service.server import event_stream
from agent_service.server.auth import READ, KeyDep
from agent_service.server.routes import ServiceDep

router = APIRouter(tags=["events"])


async def _slot(service: ServiceDep, key: KeyDep) -> AsyncIterator[None]:
    """Hold a place for a stream until its answer ended."""
    with service.streams.one(key):
        yield


@router.get("/events", response_class=EventSourceResponse, dependencies=[READ, Depends(_slot)])
async def events(
    service: ServiceDep,
    key: KeyDep,
    agent: Annotated[str | None, Query(description="only this agent's events, and the service's own")] = None,
    kind: Annotated[list[EventKind] | None, Query(description="only events of this kind; may be given again")] = None,
    last_event_id: Annotated[int | None, Header(ge=0, description="resume after this event")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream events; from now on, or after ``Last-Event-ID`` without a gap."""
    async for event in event_stream.stream(
        service, key=key, after=last_event_id, agent=agent, kinds=frozenset(kind or ())
    ):
        yield event
