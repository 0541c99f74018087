"""Claims: a plan in another RunEngine takes approved suggestions, each with a lease."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from agent_service.errors import Conflict
from agent_service.models import Claim, ClaimRequest, ReleaseRequest, RenewRequest, Suggestion
from agent_service.server.auth import CONTROL, KeyDep, stranger
from agent_service.server.routes import ServiceDep, as_json, cached_answer
from agent_service.service.claims import ClaimDesk

_RUN_BY: Final = {
    "queueserver": "gives its plans to a queue server, an item each",
    "blueapi": "gives its plans to a blueapi",
}
"""What a sink does whose plans nobody can claim, if it does not run them itself."""

router = APIRouter(prefix="/suggestions", tags=["claims"])


async def _desk(service: ServiceDep) -> ClaimDesk:
    if service.claims is None:
        raise Conflict(
            f"this service {_RUN_BY.get(kind := service.config.sink.kind, 'runs its plans itself')} (sink {kind}), so "
            'there is nothing to claim; serve it with [sink] kind = "claim"'
        )
    return service.claims


Desk = Annotated[ClaimDesk, Depends(_desk)]


@router.post(
    "/claim",
    responses={**cached_answer(Claim), 204: {"description": "There is none to claim now", "model": None}},
    dependencies=[CONTROL],
)
async def claim(
    service: ServiceDep, key: KeyDep, desk: Desk, http: Request, request: ClaimRequest | None = None
) -> Response:
    """Claim the approved suggestion that has waited longest, or wait up to ``wait_s`` for one."""
    claimed = await desk.claim(request or ClaimRequest(), key)
    if claimed is None:
        return Response(status_code=204)
    revoked = not service.access.holds(key)  # while it waited
    if revoked or await http.is_disconnected():  # nobody is there to measure it
        await desk.release(claimed.id, ReleaseRequest(how="unused"), key)
        if revoked:
            raise stranger(showed_key=True)
        return Response(status_code=204)
    return as_json(claimed.model_dump_json().encode())


@router.post("/{suggestion_id}/renew", dependencies=[CONTROL])
async def renew(key: KeyDep, desk: Desk, suggestion_id: str, request: RenewRequest | None = None) -> Claim:
    """Renew the lease of a claim, with the key that claimed it; documents of its run also renew it."""
    return desk.renew(suggestion_id, request or RenewRequest(), key)


@router.post("/{suggestion_id}/release", dependencies=[CONTROL])
async def release(key: KeyDep, desk: Desk, suggestion_id: str, request: ReleaseRequest | None = None) -> Suggestion:
    """End a claim: its suggestion has failed; ``unused``: it can be claimed again; ``done``: its plan has ended.

    Use the key that claimed it; another key also needs `approve`.
    """
    return await desk.release(suggestion_id, request or ReleaseRequest(), key)
