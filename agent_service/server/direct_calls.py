"""The calls that are made most, suggest and ingest, without what FastAPI does for a request to find its route and body.

The routes in ``routes/brain.py`` define these calls and describe them in OpenAPI. This one is tried first and takes the
plain case; a query, another kind of body, a body that is not valid and a key that may not go the way of all requests.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers

from agent_service.models import IngestRequest, SuggestRequest
from agent_service.server import auth
from agent_service.server.body import again
from agent_service.server.cached_reads import FOUND, DirectRoute
from agent_service.server.long_calls import prefer_wait
from agent_service.server.routes import brain
from agent_service.service.keys import Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from fastapi import Response
    from pydantic import BaseModel
    from starlette.types import Receive, Send

    from agent_service.server.long_calls import PreferWait
    from agent_service.service.keys import Key
    from agent_service.service.service import Service

_PASSED_ON: Final = "agent_service.direct_call.passed_on"
_JSON: Final = (b"content-type", b"application/json")


class DirectCalls(DirectRoute):
    """Answers the plain calls of a brain."""

    method, needs = "POST", Scope.CONTROL

    def found(self, scope: MutableMapping[str, Any], rest: str) -> tuple[str, str] | None:
        """Return the agent and the call."""
        name, _, call = rest.partition("/")
        return (name, call) if call in _CALLS and _JSON in scope["headers"] and _PASSED_ON not in scope else None

    async def handle(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer."""
        message = await receive()  # `request_checks` has read the whole body
        name, call = scope[FOUND]
        model, make = _CALLS[call]
        try:
            request = model.model_validate(json.loads(message["body"]))
        except ValueError:  # pydantic's too: said where everything that is not valid is
            scope[_PASSED_ON] = True
            await scope["app"].router(scope, again(message, receive), send)
            return
        answer = await make(
            scope["app"].state.service,
            scope[auth.KEY],
            name,
            request,
            prefer_wait(Headers(scope=scope), scope["request_id"]),
        )
        await answer(scope, receive, send)


async def _suggest(service: Service, key: Key, name: str, request: Any, prefer: PreferWait) -> Response:
    return await brain.suggest(service, name, request, prefer)


async def _ingest(service: Service, key: Key, name: str, request: Any, prefer: PreferWait) -> Response:
    return await brain.ingest(service, key, name, request, prefer)


_CALLS: Final[
    Mapping[str, tuple[type[BaseModel], Callable[[Service, Key, str, Any, PreferWait], Awaitable[Response]]]]
] = {"suggest": (SuggestRequest, _suggest), "ingest": (IngestRequest, _ingest)}
