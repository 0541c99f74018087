"""Suggestions: the inbox across agents, and a person's word on each."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from agent_service.models import ApproveRequest, RejectRequest, Suggestion, SuggestionList
from agent_service.models.state_machines import SuggestionState
from agent_service.server.auth import APPROVE, READ
from agent_service.server.pagination import Cursor, Limit, page
from agent_service.server.routes import ServiceDep

router = APIRouter(tags=["suggestions"])
State = Annotated[SuggestionState | None, Query(description="only suggestions with this fate")]


@router.get("/agents/{name}/suggestions", dependencies=[READ])
async def of_agent(
    service: ServiceDep, name: str, state: State = None, limit: Limit = 100, cursor: Cursor = None
) -> SuggestionList:
    """List an agent's suggestions, oldest first."""
    every = service.supervisor.agent(name).record.suggestions.values()
    items, following = page((each for each in every if state in (None, each.state)), limit=limit, cursor=cursor)
    return SuggestionList(items=items, next=following)


@router.get("/suggestions", dependencies=[READ])
async def inbox(service: ServiceDep, state: State = None, limit: Limit = 100, cursor: Cursor = None) -> SuggestionList:
    """List the suggestions of all agents; ``state=proposed`` is the inbox."""
    every = service.supervisor.suggestions()
    items, following = page((each for each in every if state in (None, each.state)), limit=limit, cursor=cursor)
    return SuggestionList(items=items, next=following)


@router.get("/suggestions/{suggestion_id}", dependencies=[READ])
async def one(service: ServiceDep, suggestion_id: str) -> Suggestion:
    """Return a suggestion and its fate."""
    return service.supervisor.owner(suggestion_id).record.suggestion(suggestion_id)


@router.post("/suggestions/{suggestion_id}/approve", dependencies=[APPROVE])
async def approve(service: ServiceDep, suggestion_id: str, request: ApproveRequest | None = None) -> Suggestion:
    """Approve a proposed suggestion, with another point if one is given; its agent's loop measures it."""
    return await service.supervisor.decisions.approve(suggestion_id, request.point if request else None)


@router.post("/suggestions/{suggestion_id}/reject", dependencies=[APPROVE])
async def reject(service: ServiceDep, suggestion_id: str, request: RejectRequest | None = None) -> Suggestion:
    """Reject a suggestion that was not submitted yet."""
    return await service.supervisor.decisions.reject(suggestion_id, request.reason if request else "")
