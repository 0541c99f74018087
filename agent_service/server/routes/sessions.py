"""Logging in: sessions of the page at ``/``, for a key or for a code that was made with one."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from agent_service.errors import InvalidInput, Unauthenticated
from agent_service.models import LoginCodeAnswer, SessionAnswer, SessionRequest
from agent_service.server.auth import KEY, READ, KeyDep, stranger
from agent_service.server.routes import ServiceDep
from agent_service.service.keys import Key, Scope
from agent_service.service.login_codes import LASTS_S as CODE_LASTS_S
from agent_service.service.panel_keys import LASTS_S, PanelKey

router = APIRouter(tags=["service"])

_NOT_STORED = {"Cache-Control": "no-store"}


@router.post("/login-codes", dependencies=[READ], response_model=LoginCodeAnswer)
async def make_code(service: ServiceDep, key: KeyDep) -> JSONResponse:
    """Make a code that logs a browser in once, within a minute, with the scopes of the caller's key."""
    answer = LoginCodeAnswer(code=service.access.login_codes.make(key), lasts_s=CODE_LASTS_S)
    return JSONResponse(answer.model_dump(), headers=_NOT_STORED)


@router.post("/sessions", response_model=SessionAnswer)
async def log_in(http: Request, service: ServiceDep, request: SessionRequest | None = None) -> JSONResponse:
    """Begin a session of the page, for a code or for the key of the request; it ends with that key.

    It is only for pages of the caller's origin, and kept only in memory.
    """
    key: Key | None = http.scope.get(KEY)
    if request is not None and request.code is not None:
        key = service.access.login_codes.redeem(request.code)
        if key is None:
            raise Unauthenticated(
                "this code was used already, or is older than a minute; `agent-service open` makes another"
            )
    if key is None:
        raise stranger(showed_key="authorization" in http.headers)
    origin = http.headers.get("origin") or f"http://{http.headers.get('host', '')}"
    made, secret = service.access.panel_keys.make(key, origin.lower(), scopes=frozenset(Scope))
    answer = SessionAnswer(key=secret, name=made.name, scopes=sorted(made.scopes), lasts_s=LASTS_S)
    return JSONResponse(answer.model_dump(), headers=_NOT_STORED)


@router.delete("/sessions", dependencies=[READ], status_code=204)
async def log_out(service: ServiceDep, key: KeyDep) -> Response:
    """End the caller's session."""
    if not isinstance(key, PanelKey):
        raise InvalidInput("this key is no session of a page; `agent-service keys revoke NAME` ends a key")
    service.access.panel_keys.end(key)
    return Response(status_code=204)
