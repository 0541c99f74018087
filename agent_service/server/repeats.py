"""Requests with an ``Idempotency-Key``: the same key is the same answer within a day, also across a restart."""

from __future__ import annotations

import hashlib
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from starlette.responses import Response

from agent_service import context
from agent_service.errors import AgentFault, InvalidInput
from agent_service.models.repeatable import IDEMPOTENCY_KEY, is_repeatable
from agent_service.server import auth
from agent_service.server.body import again
from agent_service.server.error_responses import problem
from agent_service.server.idempotent_answers import DoneRequest
from agent_service.service.idempotency import KeptAnswer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from agent_service.service.keys import Key
    from agent_service.service.service import Service

_NAME: Final = IDEMPOTENCY_KEY.lower().encode("ascii")
_KEY: Final = re.compile(rb"[\x21-\x7e][\x20-\x7e]{0,254}\Z")
_NOT_KEPT: Final = frozenset({401, 403, 408, 425, 429})
"""Refusals that say nothing of the request itself; nor is an answer of 500 and more kept, but for an agent's fault."""

_KEY_DETAIL: Final = f"{IDEMPOTENCY_KEY} is not 1 to 255 printable ASCII characters; send a new UUID with each request"
_OTHER_DETAIL: Final = f"this {IDEMPOTENCY_KEY} belongs to another request; send a new one with each request"


class Repeats:
    """ASGI middleware within `request_checks`, where the key is known and the body is whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request through."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope.get(auth.KEY) is None:
            await self._app(scope, receive, send)
            return
        names = [value for name, value in scope["headers"] if name == _NAME]
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if not names or not is_repeatable("POST", path):
            await self._app(scope, receive, send)
            return
        if len(names) > 1 or not _KEY.match(names[0]):
            answer = problem(InvalidInput(_KEY_DETAIL), request_id=scope["request_id"])
            await answer(scope, receive, send)
            return
        await self._once(scope, receive, send, path, names[0])

    async def _once(self, scope: Scope, receive: Receive, send: Send, path: str, name: bytes) -> None:
        service: Service = scope["app"].state.service
        key: Key = scope[auth.KEY]
        message = await receive() if _has_body(scope) else {"type": "http.request", "body": b""}
        body = cast("bytes", message.get("body", b""))
        mark = hashlib.sha256(b"\0".join((key.name.encode(), name))).hexdigest()[:32]
        request = hashlib.sha256(b"\0".join((path.encode(), scope["query_string"], body))).hexdigest()
        async with service.answers.in_turn(mark):
            kept = await service.answers.find(mark)
            if kept is not None and kept.request != request:
                answer = problem(InvalidInput(_OTHER_DETAIL), request_id=scope["request_id"])
            elif kept is not None:
                answer = _response(kept)
            elif (facts := service.answers.facts_of(mark)) and (
                known := await DoneRequest(service, key, path, body, facts).answer()
            ):
                answer = known
                await service.answers.keep(mark, _kept(request, answer))
            else:
                await self._carry_out(scope, again(message, receive), send, mark, request)
                return
        await answer(scope, receive, send)

    async def _carry_out(self, scope: Scope, receive: Receive, send: Send, mark: str, request: str) -> None:
        """Carry a request out, and send its answer when it is kept."""
        answers = scope["app"].state.service.answers
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)
            if message["type"] != "http.response.body" or message.get("more_body", False):
                return
            start, *parts = messages
            status: int = start["status"]
            if status not in _NOT_KEPT and (status < HTTPStatus.INTERNAL_SERVER_ERROR or status == AgentFault.status):
                headers = dict(start["headers"])
                location = headers.get(b"location", b"").decode("latin-1")
                body = b"".join(part.get("body", b"") for part in parts)
                kept = KeptAnswer(request, status, headers.get(b"content-type", b"").decode("latin-1"), location, body)
                await answers.keep(mark, kept, in_memory="/jobs/" in location)
            for each in messages:
                await send(each)

        token = context.mark_request(mark)
        try:
            await self._app(scope, receive, collect)
        finally:
            context.unmark_request(token)


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _response(kept: KeptAnswer) -> Response:
    headers = {"Location": kept.location} if kept.location else None
    return Response(kept.body, kept.status, headers, kept.type or None)


def _kept(request: str, answer: Response) -> KeptAnswer:
    headers = answer.headers
    kind, location = headers.get("content-type", ""), headers.get("location", "")
    return KeptAnswer(request, answer.status_code, kind, location, bytes(answer.body))
