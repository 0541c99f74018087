"""Who may do what: each route names the one scope it needs, as ``dependencies=[READ]``; `Needs` enforces it.

`request_checks` finds out who asks, before anything of the body is read. Closed by default: without a key only what
`OPEN` lists answers, and a route or a mount that names no scope and is not listed answers nobody.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import Depends, Request, Security, routing
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from starlette.routing import Match, compile_path

from agent_service.agents import approvals, guardrail_checks
from agent_service.brains.allowed_modules import code_in
from agent_service.errors import Forbidden, Unauthenticated
from agent_service.service.keys import Key, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent_service.models import AgentSpec

KEY: Final = "agent_service.key"
"""Where `request_checks` leaves the `Key` of a request in its ASGI scope."""

OPEN: Final = frozenset(
    {"/healthz", "/readyz", "/", "/page/{name}", "/api/v1/sessions", "/docs", "/docs-assets/{name}", "/openapi.json"}
)
"""The routes that answer everybody, as they are declared."""

_SCHEMES: Final = ("apikey", "bearer")

_log = logging.getLogger(__name__)


def secret_in(header: bytes) -> str | None:
    """Return the key in an ``Authorization`` header, or None when it is of another kind."""
    scheme, _, secret = header.decode("latin-1").partition(" ")
    return secret.strip() if scheme.lower() in _SCHEMES else None


def stranger(*, showed_key: bool) -> Unauthenticated:
    """Return the error for who shows no key, or one that the service does not know."""
    if showed_key:
        return Unauthenticated(
            "the service does not know this key: it is wrong, or was revoked; the owner's is in STATE/api_key on the "
            "service's machine, and `agent-service keys create` makes others"
        )
    return Unauthenticated(
        "this needs a key: send the header 'Authorization: Apikey KEY'; in Python, Client(url, api_key=KEY)"
    )


class Needs(SecurityBase):
    """A dependency that lets a request through if its key has a scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.scheme_name = "ApiKey"
        self.model = APIKey(
            **cast("dict[str, Any]", {"in": APIKeyIn.header}),
            name="Authorization",
            description="`Apikey KEY` or `Bearer KEY`; what a key may do are its scopes: " + ", ".join(Scope),
        )

    async def __call__(self, request: Request) -> None:
        """Let the request through, or raise `Unauthenticated` or `Forbidden`."""
        key = cast("Mapping[str, Any]", request.scope).get(KEY)
        if key is None:
            raise stranger(showed_key="authorization" in request.headers)
        refuse_without(key, self.scope)


class Closed:
    """What an application does not answer: to strangers all that is not ``opened``, and to nobody what names no scope.

    The routes are looked at when there is another number of them. One that guards itself says so in ``needs``.
    """

    def __init__(self, opened: Iterable[str] = OPEN) -> None:
        self._opened = frozenset(opened)
        self._patterns = [compile_path(path)[0] for path in self._opened]
        self._looked_at = 0
        self._bare: list[Any] = []

    def opens(self, path: str) -> bool:
        """Return whether a path, without the proxy's prefix, answers everybody."""
        return any(pattern.match(path) for pattern in self._patterns)

    def closes(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a request is for a route or a mount that names no scope and is not open."""
        routes = scope["app"].router.routes
        if len(routes) != self._looked_at:
            # before FastAPI keeps a tree of routers, the routes are all there
            every: Iterable[Any] = getattr(routing, "iter_route_contexts", iter)(routes)
            self._bare = [route for route in every if not (_names_scope(route) or route.path in self._opened)]
            self._looked_at = len(routes)
        return any(route.matches(scope)[0] is Match.FULL for route in self._bare)


def _names_scope(route: Any) -> bool:
    dependencies = getattr(route, "dependencies", None) or ()
    return hasattr(route, "needs") or any(isinstance(needed.dependency, Needs) for needed in dependencies)


class NeedsForMetrics(Needs):
    """A dependency that asks for ``read``, unless the configuration opens the metrics to everybody."""

    async def __call__(self, request: Request) -> None:
        """Let the request through."""
        if request.app.state.service.config.security.metrics != "open":
            await super().__call__(request)


READ: Final[Any] = Security(Needs(Scope.READ), scopes=[str(Scope.READ)])
PROPOSE: Final[Any] = Security(Needs(Scope.PROPOSE), scopes=[str(Scope.PROPOSE)])
CONTROL: Final[Any] = Security(Needs(Scope.CONTROL), scopes=[str(Scope.CONTROL)])
APPROVE: Final[Any] = Security(Needs(Scope.APPROVE), scopes=[str(Scope.APPROVE)])
METRICS: Final[Any] = Security(NeedsForMetrics(Scope.READ), scopes=[str(Scope.READ)])


async def _key(request: Request) -> Key:
    return request.scope[KEY]


KeyDep = Annotated[Key, Depends(_key)]
"""The key of a request, in a route that needs a scope."""


def refuse_without(key: Key, scope: Scope, *, why: str = "this") -> None:
    """Raise `Forbidden` unless a key has a scope."""
    if scope not in key.scopes:
        has = ", ".join(sorted(key.scopes))
        _log.info("refused: %s needs the scope %s, and the key %s has %s", why, scope, key.name, has)
        raise Forbidden(
            f"{why} needs the scope '{scope}', and the key {key.name!r} has {has}; ask for a key that may: "
            f"agent-service keys create NAME --scopes {has.replace(' ', '')},{scope}"
        )


def refuse_code(key: Key, spec: AgentSpec) -> None:
    """Raise `Forbidden` when ``spec`` names code, and the key may not let the service run code."""
    if named := [field for field, _ in code_in(spec)]:
        refuse_without(key, Scope.ADMIN, why=f"an agent whose {' and '.join(named)} is code of your own")


def refuse_loosening(key: Key, before: AgentSpec, after: AgentSpec) -> None:
    """Raise `Forbidden` when a change allows what guardrails or a person's approval stopped, without ``approve``.

    Whoever may only ``control`` an agent, a program for example, can narrow its limits and not widen them.
    """
    loose = [f"guardrails.{rule}" for rule in guardrail_checks.loosened(before.guardrails, after.guardrails)]
    loose += approvals.loosened(before.loop, after.loop)
    if loose:
        refuse_without(key, Scope.APPROVE, why=f"to loosen {' and '.join(loose)}")
