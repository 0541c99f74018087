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

_PREFIX: Final = "/api/v1/agents/"
FOUND: Final = "agent_service.found"
_JSON: Final = (b"content-type", b"application/json")


class DirectRoute(BaseRoute):
    """A route for plain requests of one ``method`` to agents; whatever else is asked is for the routes after it."""

    method: str
    needs: Scope

    def found(self, scope: MutableMapping[str, Any], rest: str) -> object | None:
        """Return what `handle` needs, by the path after ``/agents/``, or None when the request is not a plain one."""
        raise NotImplementedError

    def matches(self, scope: MutableMapping[str, Any]) -> tuple[Match, dict[str, Any]]:
        """Return whether it is a plain request, and what was found of it."""
        if scope["type"] != "http" or scope["method"] != self.method or scope["query_string"]:
            return Match.NONE, {}
        key = scope.get(auth.KEY)
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if key is None or self.needs not in key.scopes or not path.startswith(_PREFIX):
            return Match.NONE, {}
        match = self.found(scope, path[len(_PREFIX) :])
        return (Match.NONE, {}) if match is None else (Match.FULL, {FOUND: match})


class CachedReads(DirectRoute):
    """Answers the plain reads of agents."""

    method, needs = "GET", Scope.READ

    def found(self, scope: MutableMapping[str, Any], rest: str) -> bytes | None:
        """Return the answer, if it is ready."""
        return _ready(scope["app"].state.service, rest)

    async def handle(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer."""
        body = cast("bytes", scope[FOUND])
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
