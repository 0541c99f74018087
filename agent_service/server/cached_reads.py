"""The reads that are asked for most, an agent's status and a variable, answered with bytes that are ready already.

A panel asks for them several times a second. The routes in ``routes/`` define
these reads, answer every other case of them (a query, an error, a key that may not) and describe them in OpenAPI. This
one is tried first and takes the plain case, without what FastAPI does for a request that has something to validate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from starlette.routing import BaseRoute, Match

from agent_service.server import auth
from agent_service.service.keys import Scope

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.types import Receive, Send

    from agent_service.service.service import Service

PREFIX: Final = "/api/v1/agents/"
_BODY: Final = "agent_service.ready"
_JSON: Final = (b"content-type", b"application/json")


class CachedReads(BaseRoute):
    """A route for the plain reads of agents; whatever else is asked for is for the routes after it."""

    needs = Scope.READ

    def matches(self, scope: MutableMapping[str, Any]) -> tuple[Match, dict[str, Any]]:
        """Return whether the answer is ready, and with it the answer."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
            return Match.NONE, {}
        key = scope.get(auth.KEY)
        if key is None or self.needs not in key.scopes:
            return Match.NONE, {}
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        body = _ready(scope["app"].state.service, path[len(PREFIX) :]) if path.startswith(PREFIX) else None
        return (Match.NONE, {}) if body is None else (Match.FULL, {_BODY: body})

    async def handle(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer."""
        body = cast("bytes", scope[_BODY])
        headers = [(b"content-length", str(len(body)).encode("ascii")), _JSON]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _ready(service: Service, rest: str) -> bytes | None:
    """Return the answer to what the path asks for after the prefix, or None where there is none."""
    name, *more = rest.split("/")
    life = service.supervisor.lives.get(name)
    if life is None:
        return None
    match more:
        case []:
            return life.agent.status_json()
        case ["variables", variable] if variable in life.agent.brain.variables:
            return life.agent.brain.variable_json(variable)
        case _:
            return None
