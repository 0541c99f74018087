"""Agents: create, read, change, remove, and their lifecycle."""

from __future__ import annotations

import json
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Response

from agent_service.models import AgentList, AgentPatch, AgentSpec, AgentStatus
from agent_service.models.state_machines import AgentState
from agent_service.server.auth import CONTROL, READ, KeyDep, refuse_code, refuse_loosening
from agent_service.server.long_calls import PreferWaitDep, takes_long
from agent_service.server.pagination import Cursor, Limit
from agent_service.server.routes import ServiceDep, as_json, cached_answer

router = APIRouter(prefix="/agents", tags=["agents"])


@router.get("", responses=cached_answer(AgentList), dependencies=[READ])
async def agents(
    service: ServiceDep,
    state: Annotated[AgentState | None, Query(description="only agents in this state")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List the agents by name."""
    lives = service.supervisor.lives
    wanted_names = (name for name in service.supervisor.names(after=cursor or "") if state in (None, lives[name].state))
    names = list(islice(wanted_names, limit + 1))
    items = b",".join(lives[name].agent.status_json() for name in names[:limit])
    following = json.dumps(names[limit - 1] if len(names) > limit else None)
    return as_json(b'{"items":[%b],"next":%b}' % (items, following.encode()))


@router.post(
    "",
    status_code=201,
    responses={
        201: {"model": AgentStatus, "description": "Created"},
        204: {"description": "Nothing is wrong with it; nothing was created"},
    },
    dependencies=[CONTROL],
)
async def create(
    service: ServiceDep,
    key: KeyDep,
    spec: AgentSpec,
    dry_run: Annotated[bool, Query(description="only check it, except its name: 204")] = False,  # noqa: FBT002 - a query
) -> Response:
    """Create an agent; it does nothing until it is started. If it names code, this also needs the scope `admin`."""
    refuse_code(key, spec)
    if dry_run:
        await service.check(spec)
        return Response(status_code=204)
    agent = await service.create(spec)
    return as_json(agent.status_json(), status=201, headers={"Location": f"/api/v1/agents/{agent.name}"})


@router.get("/{name}", responses=cached_answer(AgentStatus), dependencies=[READ])
async def status(service: ServiceDep, name: str) -> Response:
    """Return an agent's status as of its last finished call; never waits for the agent."""
    return as_json(service.supervisor.agent(name).status_json())


@router.patch("/{name}", responses=takes_long(AgentStatus), dependencies=[CONTROL])
async def patch(service: ServiceDep, key: KeyDep, name: str, change: AgentPatch, prefer: PreferWaitDep) -> Response:
    """Change an agent: config rebuilds its brain by replay, loop and guardrails count at once.

    If the agent names code, its config also needs the scope `admin`: the config is that code's arguments. To loosen a
    guardrail or approval also needs `approve`; to tighten it does not.
    """
    if change.config is not None:
        refuse_code(key, service.supervisor.agent(name).spec)
    life = service.supervisor.life(name)

    def may(before: AgentSpec, after: AgentSpec) -> None:
        refuse_loosening(key, before, after)

    return await prefer.life(service.jobs, life, "patch", lambda: service.supervisor.patch(name, change, may=may))


@router.delete("/{name}", status_code=204, dependencies=[CONTROL])
async def remove(service: ServiceDep, name: str) -> Response:
    """Remove an agent that is at rest; its history stays."""
    await service.supervisor.delete(name)
    return Response(status_code=204)


@router.post("/{name}/start", responses=takes_long(AgentStatus), dependencies=[CONTROL])
async def start(
    service: ServiceDep,
    name: str,
    prefer: PreferWaitDep,
    paused: Annotated[bool, Query(description="begin paused: with what it knew, and without submitting")] = False,  # noqa: FBT002 - a query
) -> Response:
    """Build the brain, replay its outcomes, and run its loop."""
    life = service.supervisor.life(name)
    return await prefer.life(service.jobs, life, "start", lambda: life.start(paused=paused))


@router.post("/{name}/pause", responses=cached_answer(AgentStatus), dependencies=[CONTROL])
async def pause(service: ServiceDep, name: str) -> Response:
    """Let the current run end, and submit nothing more."""
    life = service.supervisor.life(name)
    await life.pause()
    return as_json(life.agent.status_json())


@router.post("/{name}/resume", responses=cached_answer(AgentStatus), dependencies=[CONTROL])
async def resume(service: ServiceDep, name: str) -> Response:
    """Resume after a pause."""
    life = service.supervisor.life(name)
    await life.resume()
    return as_json(life.agent.status_json())


@router.post("/{name}/stop", responses=takes_long(AgentStatus), dependencies=[CONTROL])
async def stop(service: ServiceDep, name: str, prefer: PreferWaitDep) -> Response:
    """Let the current run end, abandon the brain's call under way, and stop."""
    life = service.supervisor.life(name)
    return await prefer.life(service.jobs, life, "stop", life.stop)


@router.post("/{name}/restart", responses=takes_long(AgentStatus), dependencies=[CONTROL])
async def restart(service: ServiceDep, name: str, prefer: PreferWaitDep) -> Response:
    """Stop if needed, rebuild the brain by replay, and run again."""
    life = service.supervisor.life(name)
    return await prefer.life(service.jobs, life, "restart", life.restart)
