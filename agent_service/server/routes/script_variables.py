"""The routes of bluesky-adaptive 0.x's server: the variables of a site's start-up script, for the programs it has."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import JsonValue

from agent_service.errors import InvalidInput
from agent_service.server.auth import CONTROL, READ
from agent_service.server.error_responses import problem, request_id_of
from agent_service.server.routes import ServiceDep

router = APIRouter(prefix="/api", tags=["bluesky-adaptive 0.x"])

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["value"], "properties": {"value": {}}},
                "example": {"value": 5},
            }
        },
    }
}
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "There is no value, or the variable does not take it"}
}


@router.get("/", dependencies=[READ])
async def alive(service: ServiceDep) -> dict[str, str]:
    """Say that a start-up script of bluesky-adaptive 0.x is served here."""
    service.script_variables.require()
    return {"message": "The HTTP server is alive!!!"}  # programs may wait for this very text


@router.get("/variables/names", dependencies=[READ])
async def names(service: ServiceDep) -> dict[str, list[str]]:
    """Return the names of the script's variables."""
    service.script_variables.require()
    return {"names": [variable.name for variable in service.script_variables.all()]}


@router.get("/variable/{name:path}", dependencies=[READ], responses=_REFUSED, response_model=dict[str, Any])
async def read(request: Request, service: ServiceDep, name: str) -> Response | dict[str, JsonValue]:
    """Return the value of a variable, by its name."""
    try:
        return {name: await service.script_variables.get(name).read()}
    except InvalidInput as error:
        return _refused(request, error)


@router.post(
    "/variable/{name:path}",
    dependencies=[CONTROL],
    responses=_REFUSED,
    response_model=dict[str, Any],
    openapi_extra=_BODY,
)
async def write(request: Request, service: ServiceDep, name: str) -> Response | dict[str, JsonValue]:
    """Set a variable, and return its new value."""
    try:
        variable = service.script_variables.get(name)
        return {name: await variable.write(_value_in(await request.body()))}
    except InvalidInput as error:
        return _refused(request, error)


def _value_in(body: bytes) -> JsonValue:
    try:
        payload: JsonValue = json.loads(body or b"null")
    except ValueError:  # UnicodeDecodeError too
        raise InvalidInput('the body is no JSON; send {"value": ...}') from None
    if not isinstance(payload, dict) or "value" not in payload:
        raise InvalidInput('the body lacks a value; send {"value": ...}')
    return payload["value"]


def _refused(request: Request, error: InvalidInput) -> Response:
    return problem(error, request_id=request_id_of(request), status=HTTPStatus.BAD_REQUEST)
