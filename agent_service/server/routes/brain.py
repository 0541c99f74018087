"""What a person or a program asks of a brain, and what it showed of itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from agent_service import points
from agent_service.errors import NotFound
from agent_service.lifecycle import Command, require
from agent_service.models import (
    BestList,
    BestPoint,
    EventList,
    IngestAnswer,
    IngestRequest,
    Report,
    ReportList,
    SuggestAnswer,
    SuggestRequest,
    Variable,
    VariableList,
    VariableValue,
)
from agent_service.server.auth import CONTROL, READ
from agent_service.server.pages import Cursor, Limit, page, position
from agent_service.server.routes import ServiceDep, as_json, ready_made

router = APIRouter(prefix="/agents/{name}", tags=["brain"])


@router.get("/variables/{variable}", dependencies=[READ], responses=ready_made(Variable))
async def variable(service: ServiceDep, name: str, variable: str) -> Response:
    """Return one variable, as of the brain's last finished call."""
    agent = service.supervisor.agent(name)
    if variable not in agent.variables:
        known = ", ".join(agent.variables) or "none: is it started?"
        raise NotFound(f"agent {name!r} has no variable {variable!r}; it has {known}")
    return as_json(agent.variable_json(variable))


@router.post("/suggest", dependencies=[CONTROL])
async def suggest(service: ServiceDep, name: str, request: SuggestRequest) -> SuggestAnswer:
    """Ask the brain for points now; they stay proposed until somebody approves them."""
    agent = service.supervisor.agent(name)
    require(Command.SUGGEST, agent.record.state, name=name)
    return SuggestAnswer(suggestions=await agent.suggest(request.n_points, by="person"))


@router.post("/ingest", dependencies=[CONTROL])
async def ingest(service: ServiceDep, name: str, request: IngestRequest) -> IngestAnswer:
    """Tell the brain outcomes: points by hand, or runs in the catalogue."""
    agent = service.supervisor.agent(name)
    require(Command.INGEST, agent.record.state, name=name)
    if request.run_uids:
        return IngestAnswer(ingested=await service.supervisor.ingest_runs(name, request.run_uids))
    checked = points.complete(request.points, agent.spec, agent.record.suggestions)
    return IngestAnswer(ingested=await agent.ingest(checked))


@router.post("/report", dependencies=[CONTROL])
async def report(service: ServiceDep, name: str) -> Report:
    """Ask the brain what it thinks, and keep it."""
    agent = service.supervisor.agent(name)
    require(Command.REPORT, agent.record.state, name=name)
    return await agent.report()


@router.post("/go-to-best", dependencies=[CONTROL])
async def go_to_best(service: ServiceDep, name: str) -> BestPoint:
    """Move the actuators to the best point so far."""
    return await service.supervisor.go_to_best(name)


@router.get("/best", dependencies=[READ])
async def best(service: ServiceDep, name: str) -> BestList:
    """Return the best points as of the last ingest."""
    return BestList(items=service.supervisor.agent(name).record.best)


@router.get("/history", dependencies=[READ])
def history(
    service: ServiceDep,
    name: str,
    limit: Limit = 100,
    cursor: Cursor = None,
    newest_first: Annotated[bool, Query(description="newest facts first")] = False,  # noqa: FBT002 - a query
) -> EventList:
    """Return the agent's facts from the journal; an agent that was removed has a history too."""
    found = service.journal.read(after=position(cursor), agent=name, limit=limit + 1, newest_first=newest_first)
    if not found and cursor is None:
        raise NotFound(f"there is no agent {name!r}, and there never was")
    last = str(found[limit - 1].seq) if len(found) > limit else None
    return EventList(items=found[:limit], next=last)


@router.get("/reports", dependencies=[READ])
async def reports(service: ServiceDep, name: str, limit: Limit = 100, cursor: Cursor = None) -> ReportList:
    """Return the brain's reports, oldest first."""
    items, following = page(service.supervisor.agent(name).record.reports, limit=limit, cursor=cursor)
    return ReportList(items=items, next=following)


@router.get("/variables", dependencies=[READ])
async def variables(service: ServiceDep, name: str) -> VariableList:
    """Return what the brain declares to show, as of its last finished call."""
    return VariableList(items=list(service.supervisor.agent(name).variables.values()))


@router.put("/variables/{variable}", dependencies=[CONTROL])
async def set_variable(service: ServiceDep, name: str, variable: str, request: VariableValue) -> Variable:
    """Set a variable when the brain's turn comes."""
    agent = service.supervisor.agent(name)
    require(Command.INGEST, agent.record.state, name=name)
    return await agent.set_variable(variable, request.value)
