"""The calls that are made most, suggest and ingest, without what FastAPI does for a request to find its route and body.

The routes in ``routes/brain.py`` define these calls and describe them in OpenAPI. This one is tried first and takes the
plain case; a query, another kind of body, a body that is not valid and a key that may not go the way of all requests.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match

from agent_service.models import IngestRequest, SuggestRequest
from agent_service.server import auth
from agent_service.server.cached_reads import PREFIX
from agent_service.server.long_calls import prefer_wait
from agent_service.server.routes import brain
from agent_service.service.keys import Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from fastapi import Response
    from pydantic import BaseModel
    from starlette.types import Message, Receive, Send

    from agent_service.server.long_calls import PreferWait
    from agent_service.service.keys import Key
    from agent_service.service.service import Service

_CALL: Final = "agent_service.direct_call"
_PASSED_ON: Final = "agent_service.direct_call.passed_on"
_JSON: Final = (b"content-type", b"application/json")


class DirectCalls(BaseRoute):
    """A route for plain calls of a brain; whatever else is asked for is for the routes after it."""

    needs = Scope.CONTROL

    def matches(self, scope: MutableMapping[str, Any]) -> tuple[Match, dict[str, Any]]:
        """Return whether it is a plain call."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"] or _PASSED_ON in scope:
            return Match.NONE, {}
        key = scope.get(auth.KEY)
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if key is None or self.needs not in key.scopes or not path.startswith(PREFIX) or _JSON not in scope["headers"]:
            return Match.NONE, {}
        name, _, call = path[len(PREFIX) :].partition("/")
        return (Match.FULL, {_CALL: (name, call)}) if call in _CALLS else (Match.NONE, {})

    async def handle(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer."""
        message = await receive()  # `request_checks` has read the whole body
        name, call = scope[_CALL]
        model, make = _CALLS[call]
        try:
            request = model.model_validate(json.loads(message["body"]))
        except ValueError:  # pydantic's too: said where everything that is not valid is
            scope[_PASSED_ON] = True
            await scope["app"].router(scope, _again(message, receive), send)
            return
        answer = await make(
            scope["app"].state.service,
            scope[auth.KEY],
            name,
            request,
            prefer_wait(Headers(scope=scope), scope["request_id"]),
        )
        await answer(scope, receive, send)


def _again(message: Message, receive: Receive) -> Receive:
    """Return what gives a message out again, and then the rest."""
    messages = [message]

    async def give() -> Message:
        return messages.pop() if messages else await receive()

    return give


async def _suggest(service: Service, key: Key, name: str, request: Any, prefer: PreferWait) -> Response:
    return await brain.suggest(service, name, request, prefer)


async def _ingest(service: Service, key: Key, name: str, request: Any, prefer: PreferWait) -> Response:
    return await brain.ingest(service, key, name, request, prefer)


_CALLS: Final[
    Mapping[str, tuple[type[BaseModel], Callable[[Service, Key, str, Any, PreferWait], Awaitable[Response]]]]
] = {"suggest": (SuggestRequest, _suggest), "ingest": (IngestRequest, _ingest)}
