"""The service itself, the types of agents that it can host, and the devices that they may name."""

from __future__ import annotations

from fastapi import APIRouter

from agent_service.brains import types as agent_types
from agent_service.models import AgentTypeInfo, AgentTypeList, DeviceList, LoopSpec, ServiceStatus
from agent_service.server.auth import READ, KeyDep
from agent_service.server.routes import ServiceDep

router = APIRouter(tags=["service"])


@router.get("/service", dependencies=[READ])
async def service_status(service: ServiceDep, key: KeyDep) -> ServiceStatus:
    """Return version, uptime, counts, queue, catalogue and its lag, and what the caller's key may do."""
    return service.status.shown_to(key)


@router.get("/devices", dependencies=[READ])
async def devices(service: ServiceDep) -> DeviceList:
    """Return the devices that agents may name; while they cannot be listed, return the last list."""
    return await service.supervisor.known_devices.list()


@router.get("/agent-types", dependencies=[READ])
def types() -> AgentTypeList:
    """Return the installed brains, with the JSON Schema of their configuration."""
    brain_types = agent_types.installed()
    return AgentTypeList(
        items=[
            AgentTypeInfo(name=kind.name, summary=kind.summary, config_schema=kind.schema()) for kind in brain_types
        ],
        loop_schema=LoopSpec.model_json_schema(),
    )
