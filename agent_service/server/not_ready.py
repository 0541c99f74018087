"""Until the application is there: health is answered at once, and everybody else is told to come again.

A service listens before it loads Bluesky, the journal and the user's devices, which takes seconds. Nothing heavy is
imported here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import uuid
from typing import TYPE_CHECKING, Final

from agent_service.errors import BackendUnavailable, Forbidden, ServiceError
from agent_service.models.problems import described

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from agent_service.server.allowed_hosts import Hosts

ALIVE: Final = b'{"status":"ok"}'
"""What /healthz answers."""

RETRY_AFTER_S: Final = 1

HOST_DETAIL: Final = (
    "this service is not known by the name in the Host header; if that is a name of yours for it, as behind a proxy, "
    "add it to allowed_hosts in [security] of its service.toml"
)
"""What is said to who calls the service by a foreign name."""

_ID: Final = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")


def request_id(given: bytes) -> bytes:
    """Return the id of a request: the client's own (``X-Request-ID``), or a new one if that is none."""
    return given if _ID.fullmatch(given) else uuid.uuid4().hex.encode()


class StartingApp:
    """An ASGI application that stands in for another until that is there.

    /readyz and the refusals say ``reason``, what is being waited for; it may be set from any thread. ``holds``: /readyz
    says so even when the application is there, for a notebook that is served has cells left to run.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self.reason = "starting"
        self.holds = False
        self._app: ASGIApp | None = None
        self._closing = False

    def close(self) -> None:
        """Turn away who comes now, and who is put out with the request half answered: the service ends."""
        self._closing = True
        self.reason, self.holds = "stopping", True

    def say(self, reason: str) -> None:
        """Say what is being waited for, in words that follow "the service is"."""
        self.reason = reason

    def open(self, app: ASGIApp) -> None:
        """Let requests through to an application whose lifespan has begun."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request through, or answer it here."""
        if self._app is not None and not (self.holds and scope.get("path") == "/readyz"):
            try:
                await self._app(scope, receive, send)
            except asyncio.CancelledError:
                if not self._closing:
                    raise
                with contextlib.suppress(RuntimeError):  # the answer had begun
                    await self._answer(scope, send)
        elif scope["type"] == "http":
            await self._answer(scope, send)

    async def _answer(self, scope: Scope, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        called = request_id(headers.get(b"x-request-id", b""))
        server = (scope.get("server") or ("",))[0]
        names = [value for name, value in scope["headers"] if name == b"host"]
        if not all(self._hosts.admits(name, server=server) for name in names):
            await _send(send, 403, _PROBLEM, _problem(Forbidden(HOST_DETAIL), called), called)
        elif scope["path"] == "/healthz":
            await _send(send, 200, _JSON, ALIVE, called)
        elif scope["path"] == "/readyz":
            parts = {"service": {"ready": False, "reason": self.reason}}
            await _send(send, 503, _JSON, json.dumps({"ready": False, "parts": parts}).encode(), called)
        else:
            detail = f"the service is {self.reason}; try again in {RETRY_AFTER_S} s, or watch /readyz"
            await _send(send, 503, _PROBLEM, _problem(BackendUnavailable(detail), called), called)


_JSON: Final = b"application/json"
_PROBLEM: Final = b"application/problem+json"


async def _send(send: Send, status: int, kind: bytes, body: bytes, called: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"x-request-id", called)]
    if status == BackendUnavailable.status:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _problem(error: ServiceError, called: bytes) -> bytes:
    return described(error, request_id=called.decode()).model_dump_json().encode()
