"""CORS: which web pages may read what the service answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.middleware.cors import CORSMiddleware

from agent_service.models.repeatable import IDEMPOTENCY_KEY

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

    from agent_service.service.panel_keys import PanelKeys

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_HEADERS: Final = ("Authorization", "Content-Type", "Last-Event-ID", "Prefer", "X-Request-ID", IDEMPOTENCY_KEY)


class PageOrigins(CORSMiddleware):
    """CORS for the origins of the configuration and of pages that hold a panel key; for others it is not there."""

    def __init__(self, app: ASGIApp, *, origins: Collection[str], panel_keys: PanelKeys) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_HEADERS,
            allow_private_network=True,
            expose_headers=("Location", "X-Request-ID"),
        )
        self._panel_keys = panel_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request through."""
        headers: list[tuple[bytes, bytes]] = scope.get("headers", [])
        if any(name == b"origin" and self.is_allowed_origin(value.decode("latin-1")) for name, value in headers):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """Return whether a page of this origin may read answers; which key it shows is looked at later."""
        return super().is_allowed_origin(origin) or self._panel_keys.admits(origin)
