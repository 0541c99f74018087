"""The routes, one noun a file: each validates, calls, and returns."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import Response

from agent_service.service.service import Service


async def _service(request: Request) -> Service:  # async: a plain function would cost a trip to a worker thread
    return request.app.state.service


ServiceDep = Annotated[Service, Depends(_service)]
"""The running service, in a route."""


def cached_answer(model: type[Any]) -> dict[int | str, dict[str, Any]]:
    """Describe a 200 answer whose JSON bytes are ready before the request."""
    return {200: {"model": model, "description": "Successful Response"}}


def as_json(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON bytes that are ready already."""
    return Response(body, status_code=status, media_type="application/json", headers=headers)
