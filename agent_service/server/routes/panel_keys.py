"""Keys of notebook pages."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from agent_service.models import PanelKeyAnswer, PanelKeyRequest
from agent_service.server.auth import READ, KeyDep
from agent_service.server.routes import ServiceDep
from agent_service.service.panel_keys import LASTS_S

router = APIRouter(tags=["service"])


@router.post("/panel-keys", dependencies=[READ], response_model=PanelKeyAnswer)
async def make(service: ServiceDep, key: KeyDep, request: PanelKeyRequest) -> JSONResponse:
    """Make a short-lived key for pages of one origin, with the caller's scopes except ``admin``; or renew one.

    A notebook's panel uses it to reach the service when its kernel does not answer. It is kept only in memory.
    """
    made, secret = service.access.panel_keys.make(key, request.origin, renews=request.renews)
    answer = PanelKeyAnswer(key=secret, scopes=sorted(made.scopes), lasts_s=LASTS_S)
    return JSONResponse(answer.model_dump(), headers={"Cache-Control": "no-store"})
