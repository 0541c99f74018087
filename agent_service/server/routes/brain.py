"""Calls of a brain by a person or a program, and its variables."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from agent_service.agents import sent_points
from agent_service.agents.record.suggestions import report_of
from agent_service.errors import NotFound
from agent_service.models import (
    ID_KEY,
    AgentDevices,
    BestList,
    BestPoint,
    EventKind,
    EventList,
    GoToBestRequest,
    IngestAnswer,
    IngestRequest,
    MethodAnswer,
    MethodCall,
    MethodList,
    Prediction,
    PredictRequest,
    Report,
    ReportList,
    SuggestAnswer,
    SuggestRequest,
    Variable,
    VariableList,
    VariableValue,
)
from agent_service.models.spelling import near
from agent_service.models.state_machines import Command, require
from agent_service.server import fresh_reads
from agent_service.server.auth import APPROVE, CONTROL, READ, KeyDep
from agent_service.server.long_calls import PreferWaitDep, takes_long
from agent_service.server.pagination import Cursor, Limit, position
from agent_service.server.routes import ServiceDep, as_json, cached_answer

router = APIRouter(prefix="/agents/{name}", tags=["brain"])


@router.get(
    "/variables/{variable}",
    dependencies=[READ],
    responses=cached_answer(Variable),
    openapi_extra=fresh_reads.PARAMETERS,
)
async def variable(service: ServiceDep, http: Request, name: str, variable: str) -> Response:
    """Return one variable, as of the brain's last finished call, or now."""
    agent = service.supervisor.agent(name)
    await fresh_reads.look(http, service.jobs, agent)
    if variable not in agent.brain.variables:
        known = ", ".join(agent.brain.variables) or "none: is it started?"
        raise NotFound(f"agent {name!r} has no variable {variable!r}; it has {known}")
    return as_json(agent.brain.variable_json(variable))


@router.post("/suggest", responses=takes_long(SuggestAnswer), dependencies=[CONTROL])
async def suggest(service: ServiceDep, name: str, request: SuggestRequest, prefer: PreferWaitDep) -> Response:
    """Ask the brain for points now. They stay proposed until somebody approves them."""
    agent = service.supervisor.agent(name)
    require(Command.SUGGEST, agent.record.state, name=name)

    async def doing() -> SuggestAnswer:
        return SuggestAnswer(suggestions=await agent.suggest(request.n_points, by="person"))

    return await prefer.brain(service.jobs, agent, "suggest", doing())


@router.post("/ingest", responses=takes_long(IngestAnswer), dependencies=[CONTROL])
async def ingest(
    service: ServiceDep, key: KeyDep, name: str, request: IngestRequest, prefer: PreferWaitDep
) -> Response:
    """Tell the brain outcomes: points by hand, or runs in the catalogue.

    An outcome of a claimed suggestion needs the key of the claim; another key also needs `approve`.
    """
    agent = service.supervisor.agent(name)
    require(Command.INGEST, agent.record.state, name=name)
    await service.supervisor.recall(*(str(point[ID_KEY]) for point in request.points if point.get(ID_KEY)))
    checked = sent_points.complete(request.points, agent.spec, agent.record.suggestions) if request.points else []
    if service.claims is not None:
        for point in checked:
            service.claims.refuse_stranger(str(point.get(ID_KEY)), key, to="tell its outcome")

    async def doing() -> IngestAnswer:
        if request.run_uids:
            return IngestAnswer(ingested=await service.supervisor.decisions.ingest_runs(name, request.run_uids))
        return IngestAnswer(ingested=await agent.ingest(checked, retold=request.retold))

    return await prefer.brain(service.jobs, agent, "ingest", doing())


@router.post("/report", responses=takes_long(Report), dependencies=[CONTROL])
async def report(service: ServiceDep, name: str, prefer: PreferWaitDep) -> Response:
    """Ask the brain for a report, and keep it."""
    agent = service.supervisor.agent(name)
    require(Command.REPORT, agent.record.state, name=name)
    return await prefer.brain(service.jobs, agent, "report", agent.report())


@router.post("/predict", responses=takes_long(Prediction), dependencies=[READ])
async def predict(service: ServiceDep, name: str, request: PredictRequest, prefer: PreferWaitDep) -> Response:
    """Return the brain's predictions at points, made between its calls; equal requests share one answer."""
    agent = service.supervisor.agent(name)
    require(Command.PREDICT, agent.record.state, name=name)
    return await prefer.brain(service.jobs, agent, "predict", agent.predictions.of(request.points))


@router.get("/devices", dependencies=[READ])
async def devices(service: ServiceDep, name: str) -> AgentDevices:
    """Return where the agent's devices are; one that does not answer within 2 s is left out."""
    agent = service.supervisor.agent(name)
    answer = await agent.guardrails.ask_devices()
    agent.mark_changed()  # its status has the units
    return answer


@router.post("/go-to-best", dependencies=[APPROVE])
async def go_to_best(service: ServiceDep, name: str, request: GoToBestRequest | None = None) -> BestPoint:
    """Move the actuators to the best point, measured or the brain's, because a person asks for it."""
    given = request or GoToBestRequest()
    return await service.supervisor.decisions.go_to_best(
        name, by=given.by, seen=given.point, despite_conditions=given.despite_conditions
    )


@router.get("/best", dependencies=[READ], openapi_extra=fresh_reads.PARAMETERS)
async def best(service: ServiceDep, http: Request, name: str) -> BestList:
    """Return the best points: the brain's own, as of its last ingest or now, and those measured."""
    agent = service.supervisor.agent(name)
    seen = await fresh_reads.look(http, service.jobs, agent)
    by_model, measured = agent.record.best if seen is None else list(seen.best), agent.record.best_measured
    points = list(measured.front)
    by = "model" if by_model or not points else "measured"
    return BestList(items=by_model or points, by=by, measured=points, by_model=by_model, note=measured.none)


@router.get("/history", dependencies=[READ])
def history(
    service: ServiceDep,
    name: str,
    limit: Limit = 100,
    cursor: Cursor = None,
    newest_first: Annotated[bool, Query(description="newest facts first")] = False,  # noqa: FBT002 - a query
) -> EventList:
    """Return the agent's facts from the journal, also of an agent that was removed."""
    events = service.journal.read(after=position(cursor), agent=name, limit=limit + 1, newest_first=newest_first)
    if not events and cursor is None and name not in service.supervisor.lives:
        raise NotFound(f"there is no agent {name!r}, and there never was")
    last = str(events[limit - 1].seq) if len(events) > limit else None
    return EventList(items=events[:limit], next=last)


@router.get("/reports", dependencies=[READ])
async def reports(service: ServiceDep, name: str, limit: Limit = 100, cursor: Cursor = None) -> ReportList:
    """Return the brain's reports, oldest first."""
    record, after = service.supervisor.agent(name).record, position(cursor)
    kept = [each for each in record.reports if after < each.seq <= service.journal.seqs.forgotten][: limit + 1]
    after = max(after, record.created_seq, service.journal.seqs.forgotten)
    read = partial(service.journal.read, after=after, agent=name, kinds=[EventKind.REPORT], limit=limit + 1)
    facts = await asyncio.to_thread(read)
    items = [*kept, *(report_of(fact) for fact in facts)]
    return ReportList(items=items[:limit], next=str(items[limit - 1].seq) if len(items) > limit else None)


@router.get("/variables", dependencies=[READ], openapi_extra=fresh_reads.PARAMETERS)
async def variables(service: ServiceDep, http: Request, name: str) -> VariableList:
    """Return the brain's variables, as of its last finished call, or now."""
    agent = service.supervisor.agent(name)
    await fresh_reads.look(http, service.jobs, agent)
    return VariableList(items=list(agent.brain.variables.values()))


@router.put("/variables/{variable}", responses=takes_long(Variable), dependencies=[CONTROL])
async def set_variable(
    service: ServiceDep, name: str, variable: str, request: VariableValue, prefer: PreferWaitDep
) -> Response:
    """Set a variable when the brain's turn comes."""
    agent = service.supervisor.agent(name)
    require(Command.INGEST, agent.record.state, name=name, to="have a variable set")
    doing = agent.set_variable(variable, request.value)
    return await prefer.brain(service.jobs, agent, f"variables/{variable}", doing)


@router.get("/methods", dependencies=[READ])
async def methods(service: ServiceDep, name: str) -> MethodList:
    """Return the methods that people may call, with the JSON Schema of their arguments."""
    return MethodList(items=list(service.supervisor.agent(name).brain.traits.methods))


@router.post("/methods/{method}", responses=takes_long(MethodAnswer), dependencies=[CONTROL])
async def method(
    service: ServiceDep, name: str, method: str, prefer: PreferWaitDep, request: MethodCall | None = None
) -> Response:
    """Call a method when the brain's turn comes, and return its result."""
    agent = service.supervisor.agent(name)
    require(Command.INGEST, agent.record.state, name=name, to=f"be asked for {method}")
    if method not in (there := [declared.name for declared in agent.brain.traits.methods]):
        raise NotFound(
            f"agent {name!r} has no method {method!r}; {near(method, there)}it has {', '.join(there) or 'none'}"
        )
    given = request or MethodCall()

    async def doing() -> MethodAnswer:
        return MethodAnswer(result=await agent.call_method(method, given.args, given.kwargs))

    return await prefer.brain(service.jobs, agent, f"methods/{method}", doing())
