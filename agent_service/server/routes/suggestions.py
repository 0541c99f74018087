"""Suggestions: the inbox across agents, and people's decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from agent_service.agents import suggestion_list
from agent_service.models import (
    ApproveAllRequest,
    ApproveRequest,
    ProposeRequest,
    RejectRequest,
    SuggestAnswer,
    Suggestion,
    SuggestionList,
)
from agent_service.models.state_machines import OPEN, SuggestionState
from agent_service.server.auth import APPROVE, PROPOSE, READ
from agent_service.server.pagination import Cursor, Limit, page, position
from agent_service.server.routes import ServiceDep

if TYPE_CHECKING:
    from agent_service.agents.record.agent import AgentRecord
    from agent_service.service.service import Service

router = APIRouter(tags=["suggestions"])
State = Annotated[SuggestionState | None, Query(description="only suggestions with this fate")]


@router.get("/agents/{name}/suggestions", dependencies=[READ])
async def of_agent(
    service: ServiceDep, name: str, state: State = None, limit: Limit = 100, cursor: Cursor = None
) -> SuggestionList:
    """List an agent's suggestions, oldest first."""
    record = service.supervisor.agent(name).record
    return await _page(service, [record], state, limit, cursor)


@router.post("/agents/{name}/suggestions", status_code=201, dependencies=[PROPOSE])
async def propose(service: ServiceDep, name: str, request: ProposeRequest) -> Suggestion:
    """Propose a point to an agent, with a reason. It waits for a person, also if the agent needs no approval."""
    return await service.supervisor.decisions.propose(name, request.point, request.reason)


@router.get("/suggestions", dependencies=[READ])
async def inbox(service: ServiceDep, state: State = None, limit: Limit = 100, cursor: Cursor = None) -> SuggestionList:
    """List the suggestions of all agents; ``state=proposed`` is the inbox."""
    records = [life.agent.record for life in service.supervisor.lives.values()]
    return await _page(service, records, state, limit, cursor)


async def _page(
    service: Service, records: list[AgentRecord], state: SuggestionState | None, limit: int, cursor: str | None
) -> SuggestionList:
    if state is not None and state in OPEN:  # all of them are in memory
        waiting = (each for record in records for each in record.open_in(state))
        items, following = page(waiting, limit=limit, cursor=cursor)
        return SuggestionList(items=items, next=following)
    listed = suggestion_list.SuggestionList(service.journal, records)
    items, last = await listed.page(after=position(cursor), limit=limit, state=state)
    return SuggestionList(items=items, next=None if last is None else str(last))


@router.get("/suggestions/{suggestion_id}", dependencies=[READ])
async def one(service: ServiceDep, suggestion_id: str) -> Suggestion:
    """Return a suggestion and its fate."""
    await service.supervisor.recall(suggestion_id)
    return service.supervisor.owner(suggestion_id).record.suggestion(suggestion_id)


@router.post("/suggestions/approve", dependencies=[APPROVE])
async def approve_all(service: ServiceDep, request: ApproveAllRequest) -> SuggestAnswer:
    """Approve several suggestions of one agent, with the points that the person saw: all or none."""
    return SuggestAnswer(suggestions=await service.supervisor.decisions.approve_all(request.seen))


@router.post("/suggestions/{suggestion_id}/approve", dependencies=[APPROVE])
async def approve(service: ServiceDep, suggestion_id: str, request: ApproveRequest | None = None) -> Suggestion:
    """Approve a proposed suggestion, with an edited point if given; its agent's loop measures it."""
    return await service.supervisor.decisions.approve(suggestion_id, request.point if request else None)


@router.post("/suggestions/{suggestion_id}/reject", dependencies=[APPROVE])
async def reject(service: ServiceDep, suggestion_id: str, request: RejectRequest | None = None) -> Suggestion:
    """Reject a suggestion that is not submitted yet."""
    return await service.supervisor.decisions.reject(suggestion_id, request.reason if request else "")
