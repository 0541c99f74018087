"""Conditions for a measurement, and whether they are met."""

from __future__ import annotations

from fastapi import APIRouter

from agent_service.models import ConditionList, ConditionStatus, RejectRequest
from agent_service.server.auth import CONTROL, READ
from agent_service.server.routes import ServiceDep

router = APIRouter(prefix="/conditions", tags=["conditions"])


@router.get("", dependencies=[READ])
async def conditions(service: ServiceDep) -> ConditionList:
    """Return all conditions and their status."""
    return ConditionList(items=service.supervisor.conditions.statuses())


@router.post("/{name}/off", dependencies=[CONTROL])
async def switch_off(service: ServiceDep, name: str, request: RejectRequest | None = None) -> ConditionStatus:
    """Let a condition not count until somebody switches it on; what is measured meanwhile is ingested."""
    return await service.supervisor.conditions.switch(name, on=False, reason=request.reason if request else "")


@router.post("/{name}/on", dependencies=[CONTROL])
async def switch_on(service: ServiceDep, name: str, request: RejectRequest | None = None) -> ConditionStatus:
    """Let a condition count again."""
    return await service.supervisor.conditions.switch(name, on=True, reason=request.reason if request else "")
