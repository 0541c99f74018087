"""The door: who knocks before the application is there is told to come again, and health is answered at once.

A service listens before it loads Bluesky, the journal and the user's devices, which takes seconds. Nothing heavy is
imported here.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import BackendUnavailable

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

ALIVE: Final = b'{"status":"ok"}'
"""What /healthz answers."""

RETRY_AFTER_S: Final = 1


class Door:
    """An ASGI application that stands in for another until that is there.

    Attributes
    ----------
    reason
        What is being waited for, in words; /readyz and the refusals say it. May be set from any thread.
    holds
        Whether /readyz says so even when the door is open: a notebook that is served has cells left to run.
    """

    def __init__(self) -> None:
        self.reason = "starting"
        self.holds = False
        self._app: ASGIApp | None = None

    def open(self, app: ASGIApp) -> None:
        """Let requests through to an application whose lifespan has begun."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request through, or answer it here."""
        if self._app is not None and not (self.holds and scope.get("path") == "/readyz"):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, send)

    async def _answer(self, scope: Scope, send: Send) -> None:
        request_id = uuid.uuid4().hex
        kind, status, path = b"application/json", 503, scope["path"]
        if path == "/healthz":
            status, body = 200, ALIVE
        elif path == "/readyz":
            parts = {"service": {"ready": False, "reason": self.reason}}
            body = json.dumps({"ready": False, "parts": parts}).encode()
        else:
            kind, body = b"application/problem+json", json.dumps(self._problem(request_id)).encode()
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        headers.append((b"x-request-id", request_id.encode()))
        if status != 200:  # noqa: PLR2004 - HTTP's OK
            headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _problem(self, request_id: str) -> dict[str, Any]:
        kind = BackendUnavailable
        return {
            "type": f"urn:agent-service:problem:{kind.code}",
            "title": kind.title,
            "status": kind.status,
            "detail": f"the service is {self.reason}; try again in {RETRY_AFTER_S} s, or watch /readyz",
            "code": kind.code,
            "request_id": request_id,
        }
