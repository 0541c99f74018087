"""From errors to RFC 9457 problems: one place, one shape, never the input (NaN is no JSON; a value may be secret)."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from agent_service import errors
from agent_service.models import Problem
from agent_service.models.problems import described, unforeseen
from agent_service.models.repeatable import IDEMPOTENCY_KEY, is_repeatable
from agent_service.models.spelling import model_in
from agent_service.models.validation_messages import field_errors, sentence

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from pydantic import BaseModel

MEDIA_TYPE: Final = "application/problem+json"
_BY_STATUS: Final[dict[int, type[errors.ServiceError]]] = {404: errors.NotFound, 413: errors.TooLarge}

_IDEMPOTENCY_KEY: Final = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 255},
    "description": "a new UUID for each request: sent twice with the same one, also across a restart and within a day, "
    "it is carried out once and answered the same",
}

_log = logging.getLogger(__name__)

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": title, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for status, title in (
        (401, "No key, or an unknown one"),
        (403, "The key lacks the scope, or Host or Origin is none of the service's"),
        (404, "No such resource"),
        (408, "The body did not come"),
        (409, "Not possible in the present state; says what is legal"),
        (413, "The body is over 10 MB"),
        (422, "The input is not valid; says which field and why"),
        (429, "As many event streams are open as there may be"),
        (431, "The headers are over 32 KB"),
        (502, "The agent's own code failed"),
        (503, "A part of the service is not available"),
        (504, "A deadline passed"),
    )
}
"""What any route may answer beside its own, for the OpenAPI document."""


def problem(error: errors.ServiceError, *, request_id: str | None, status: int | None = None) -> Response:
    """Return an error as a problem response."""
    body = described(error, request_id=request_id, status=status)
    headers = {"WWW-Authenticate": "Apikey"} if isinstance(error, errors.Unauthenticated) else None
    return Response(body.model_dump_json(), status_code=body.status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Let every error of ``app`` become a problem."""

    async def service_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.ServiceError)  # noqa: S101 - registered for it
        return problem(error, request_id=request_id_of(request))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        wrong = field_errors(error.errors(), drop=1, model=_body_model(request))
        return problem(errors.InvalidInput(sentence(wrong), errors=wrong), request_id=request_id_of(request))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        if error.status_code == HTTPStatus.NOT_FOUND:
            known: errors.ServiceError = errors.NotFound(f"there is nothing at {request.url.path}; /docs lists the API")
        elif error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI: a body that no parser takes
            known = errors.InvalidInput(str(error.detail))
            return problem(known, request_id=request_id_of(request))
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            known = errors.InvalidInput(f"{request.method} is not possible at {request.url.path}; /docs lists the API")
        else:
            known = _BY_STATUS.get(error.status_code, errors.InvalidInput)(error.detail)
        answer = problem(known, request_id=request_id_of(request), status=error.status_code)
        answer.headers.update(error.headers or {})
        return answer

    async def unexpected(request: Request, error: Exception) -> Response:
        _log.error("request %s failed", request_id_of(request), exc_info=error)
        return problem(unforeseen(request_id_of(request)), request_id=request_id_of(request))

    document = app.openapi

    def with_problem() -> dict[str, Any]:
        described = document()
        schemas = described.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            problem_schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(problem_schema.pop("$defs", {}))
            schemas["Problem"] = problem_schema
        _describe_repeatable(described["paths"])
        return described

    app.openapi = with_problem  # pyright: ignore[reportAttributeAccessIssue] - FastAPI's documented way
    app.add_exception_handler(errors.ServiceError, service_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def _describe_repeatable(paths: dict[str, Any]) -> None:
    for path, operations in paths.items():
        if "post" in operations and is_repeatable("POST", path):
            parameters = operations["post"].setdefault("parameters", [])
            if _IDEMPOTENCY_KEY not in parameters:  # FastAPI keeps the document
                parameters.append(_IDEMPOTENCY_KEY)


def _body_model(request: Request) -> type[BaseModel] | None:
    """Return what the body of a request is to be, as far as its route says."""
    dependant = getattr(request.scope.get("route"), "dependant", None)
    fields: list[Any] = dependant.body_params if dependant is not None else []
    return model_in(fields[0].field_info.annotation) if len(fields) == 1 else None


def request_id_of(request: Request) -> str | None:
    """Return the id of a request, as `request_checks` gave it."""
    return request.scope.get("request_id")
