"""Who may do what: one key now; every route but the health checks and the API page asks for it."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader

from agent_service.errors import Unauthenticated

_header = APIKeyHeader(
    name="Authorization", scheme_name="ApiKey", description="`Apikey KEY` or `Bearer KEY`", auto_error=False
)


async def authenticated(request: Request, header: Annotated[str | None, Security(_header)]) -> None:
    """Let a request with the service's key through.

    Raises
    ------
    Unauthenticated
        No key, or another one.
    """
    scheme, _, key = (header or "").partition(" ")
    if scheme.lower() not in ("apikey", "bearer"):
        raise Unauthenticated("this needs a key: send the header 'Authorization: Apikey KEY'")
    if not hmac.compare_digest(key.strip().encode(), request.app.state.service.api_key.encode()):
        raise Unauthenticated("the service does not know this key; it is in STATE/api_key on the service's machine")
