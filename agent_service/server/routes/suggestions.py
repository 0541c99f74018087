"""Suggestions: the inbox across agents, and a person's word on each."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from agent_service.models import (
    ApproveAllRequest,
    ApproveRequest,
    ProposeRequest,
    RejectRequest,
    SuggestAnswer,
    Suggestion,
    SuggestionList,
)
from agent_service.models.state_machines import SuggestionState
from agent_service.server.auth import APPROVE, PROPOSE, READ
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


@router.post("/agents/{name}/suggestions", status_code=201, dependencies=[PROPOSE])
async def propose(service: ServiceDep, name: str, request: ProposeRequest) -> Suggestion:
    """Propose a point to an agent, and say why: it waits for a person, also where the agent needs no approval."""
    return await service.supervisor.decisions.propose(name, request.point, request.reason)


@router.get("/suggestions", dependencies=[READ])
async def inbox(service: ServiceDep, state: State = None, limit: Limit = 100, cursor: Cursor = None) -> SuggestionList:
    """List the suggestions of all agents; ``state=proposed`` is the inbox."""
    items, following = page(service.supervisor.suggestions(state), limit=limit, cursor=cursor)
    return SuggestionList(items=items, next=following)


@router.get("/suggestions/{suggestion_id}", dependencies=[READ])
async def one(service: ServiceDep, suggestion_id: str) -> Suggestion:
    """Return a suggestion and its fate."""
    return service.supervisor.owner(suggestion_id).record.suggestion(suggestion_id)


@router.post("/suggestions/approve", dependencies=[APPROVE])
async def approve_all(service: ServiceDep, request: ApproveAllRequest) -> SuggestAnswer:
    """Approve several suggestions of one agent as they were seen: all of them, or none."""
    return SuggestAnswer(suggestions=await service.supervisor.decisions.approve_all(request.seen))


@router.post("/suggestions/{suggestion_id}/approve", dependencies=[APPROVE])
async def approve(service: ServiceDep, suggestion_id: str, request: ApproveRequest | None = None) -> Suggestion:
    """Approve a proposed suggestion, with another point if one is given; its agent's loop measures it."""
    return await service.supervisor.decisions.approve(suggestion_id, request.point if request else None)


@router.post("/suggestions/{suggestion_id}/reject", dependencies=[APPROVE])
async def reject(service: ServiceDep, suggestion_id: str, request: RejectRequest | None = None) -> Suggestion:
    """Reject a suggestion that was not submitted yet."""
    return await service.supervisor.decisions.reject(suggestion_id, request.reason if request else "")
