"""What each request passes first: it gets an id, which the answer echoes, and its body is limited."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from agent_service.errors import TooLarge
from agent_service.server.problems import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY: Final = 10_000_000
"""Largest request body, in bytes."""

_ID: Final = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")
_SAID: Final = f"the body is over {MAX_BODY // 1_000_000} MB; send it in smaller parts"


class Gate:
    """Plain ASGI middleware: request ids and the body limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = length = b""
        for name, value in scope["headers"]:  # on the path of every request: one look at each header, no objects
            if name == b"x-request-id":
                given = value
            elif name == b"content-length":
                length = value
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex.encode()
        scope["request_id"] = request_id.decode("ascii")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        if length.isdigit() and int(length) > MAX_BODY:
            refusal = problem(TooLarge(_SAID), request_id=scope["request_id"])
            await refusal(scope, receive, answer)
            return
        await self._app(scope, _limited(receive), answer)


def _limited(receive: Receive) -> Receive:
    taken = 0

    async def take() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise HTTPException(TooLarge.status, _SAID)
        return message

    return take
