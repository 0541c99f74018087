"""The event stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Response

from agent_service.models import EventKind
from agent_service.server.auth import READ, KeyDep
from agent_service.server.event_stream import EventStream, stream
from agent_service.server.routes import ServiceDep

router = APIRouter(tags=["events"])

_DESCRIBED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "properties": {
                        "data": {"type": "string"},
                        "event": {"type": "string"},
                        "id": {"type": "string"},
                        "retry": {"type": "integer", "minimum": 0},
                    },
                }
            }
        }
    }
}


async def _slot(service: ServiceDep, key: KeyDep) -> AsyncIterator[None]:
    """Hold a place for a stream until its answer ended."""
    with service.streams.hold(key):
        yield


@router.get("/events", response_class=Response, responses=_DESCRIBED, dependencies=[READ, Depends(_slot)])
async def events(
    service: ServiceDep,
    key: KeyDep,
    agent: Annotated[str | None, Query(description="only this agent's events, and the service's own")] = None,
    kind: Annotated[list[EventKind] | None, Query(description="only events of this kind; may be repeated")] = None,
    last_event_id: Annotated[int | None, Header(ge=0, description="resume after this event")] = None,
) -> EventStream:
    """Stream events from now on, or after ``Last-Event-ID`` without a gap."""
    return EventStream(stream(service, key=key, after=last_event_id, agent=agent, kinds=frozenset(kind or ())))
