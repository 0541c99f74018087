"""The first checks of each request: its id, the service's host names, the limits on headers and body, and its key.

All happen before a byte of the body is read: a request without a key costs the service almost nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from agent_service import context
from agent_service.errors import BackendUnavailable, Forbidden, InvalidInput, ServiceError, TooLarge, Unauthenticated
from agent_service.server import auth, body, not_ready
from agent_service.server.error_responses import problem
from agent_service.server.neighbours import NEIGHBOUR, is_neighbour
from agent_service.service.keys import Scope as KeyScope
from agent_service.service.panel_keys import PanelKey

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from agent_service.server.allowed_hosts import Hosts
    from agent_service.service.keys import Key
    from agent_service.service.service import Service

MAX_BODY: Final = 10_000_000
"""Largest request body, in bytes."""

MAX_BODY_OF_STRANGER: Final = 65_536
"""Largest request body without a key, in bytes: there is nothing to say without one."""

MAX_HEADERS: Final = 32_768
"""Largest headers, in bytes."""

BODY_PAUSE_S: Final = 30.0
"""How long a body may pause on its way."""

_HEADERS_DETAIL: Final = f"the headers are over {MAX_HEADERS // 1024} KB; send fewer"
_PARTS_DETAIL: Final = "without a key, a body of unknown length is not taken; send its Content-Length, or a key"
_SLOW_DETAIL: Final = f"the body did not go on for {BODY_PAUSE_S:g} s; send it again"
_ORIGIN_DETAIL: Final = (
    "this service does not answer pages of that Origin; if it is yours, add it to cors_origins, or its host to "
    "allowed_hosts, in [security] of its service.toml"
)
_CLOSED_DETAIL: Final = "this is closed: it names no scope that a key must have, and is not on the list of what is open"
_ELSEWHERE_DETAIL: Final = "this key belongs to a panel in a page of another Origin; each page has its own"
_TOO_LONG_DETAIL: Final = f"the body is over {MAX_BODY // 1_000_000} MB; send it in smaller parts"

_UNWRITABLE_DETAIL: Final = "the journal cannot be written, so nothing can be acknowledged now"
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# whole paths below the API's, not their ends: an agent, a variable or a method may have any of these names
_DOCUMENTS: Final = re.compile(r"/api/v1/documents\Z")
_NEED_NO_JOURNAL: Final = re.compile(
    r"/api/v1/(?:queue/(?:abort|pause)|documents|suggestions/[^/]+/(?:renew|release)|panel-keys|login-codes|sessions)\Z"
)
"""Paths that are answered while the journal cannot be written: what stops, and what somebody measured."""

_LOGIN: Final = re.compile(r"/api/v1/sessions\Z")
"""Answered to a page of any origin: behind a proxy, as in a notebook server, its own is not the one that is asked."""

_log = logging.getLogger(__name__)


class RequestChecks:
    """Plain ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, hosts: Hosts, closed: auth.Closed, *, neighbours: bool = False) -> None:
        self._app = app
        self._hosts = hosts
        self._closed = closed
        self._neighbours = neighbours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request through."""
        if scope["type"] == "websocket":  # there are none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Headers(scope["headers"])
        request_id = not_ready.request_id(seen.request_id)
        scope["request_id"] = request_id.decode("ascii")
        status, began = 0, time.monotonic()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        secret = auth.secret_in(seen.authorization) if seen.authorization else None
        unknown: BackendUnavailable | None = None
        try:
            key = None if secret is None else _service(scope).access.find(secret)
            if secret is None and self._neighbours and is_neighbour(scope, scope["headers"]):
                key = NEIGHBOUR
        except BackendUnavailable as error:
            key, unknown = None, error
        scope[auth.KEY] = key
        token = None if key is None else context.enter(key.name, approves=KeyScope.APPROVE in key.scopes)
        try:
            await self._pass(scope, receive, answer, seen, key, unknown)
        finally:
            if token is not None:
                context.leave(token)
            if _log.isEnabledFor(logging.INFO):  # the path without its query: what is in that is the client's
                request = (scope["method"], scope["path"], status, (time.monotonic() - began) * 1000)
                who = {"request_id": scope["request_id"], "key": key.name if key else None}
                _log.info("%s %s %s in %.1f ms", *request, extra=who)

    async def _pass(  # noqa: PLR0913, PLR0917 - ASGI's three, and what was found out by now
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        seen: _Headers,
        key: Key | None,
        unknown: BackendUnavailable | None,
    ) -> None:
        refusal = self._refusal(scope, seen, key)
        if unknown is not None and refusal is not None and isinstance(refusal[0], Unauthenticated):
            refusal = unknown, unknown.status
        if refusal is None and seen.has_parts and key is None:  # what takes a body takes a key; and it may never end
            refusal = TooLarge(_PARTS_DETAIL), TooLarge.status
        if refusal is None and seen.has_body and key is not None:
            # read here: what it holds is known before it is taken apart, and a route that reads none lets none pass
            limits = body.OF_DOCUMENTS if _DOCUMENTS.search(scope["path"]) else body.LIMITS
            try:
                receive = await _whole(receive, limits)
            except (TooLarge, InvalidInput) as error:
                refusal = error, error.status
            except TimeoutError:
                refusal = InvalidInput(_SLOW_DETAIL), HTTPStatus.REQUEST_TIMEOUT
        if refusal is not None:
            answer = problem(refusal[0], request_id=scope["request_id"], status=refusal[1])
            await answer(scope, receive, send)
            return
        await self._app(scope, _limited(receive) if seen.has_body and key is None else receive, send)

    def _refusal(self, scope: Scope, seen: _Headers, key: Key | None) -> tuple[ServiceError, int] | None:
        if seen.size > MAX_HEADERS:
            return TooLarge(_HEADERS_DETAIL), HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        error: ServiceError | None = self._foreign(scope, seen, key)
        if error is not None:
            pass
        elif key is None and not self._closed.opens(scope["path"].removeprefix(scope.get("root_path", ""))):
            error = auth.stranger(showed_key=bool(seen.authorization))
        elif self._closed.closes(scope):
            error = Forbidden(_CLOSED_DETAIL)
        elif seen.length > _limit(key):
            error = TooLarge(_TOO_LONG_DETAIL)
        elif key and scope["method"] not in READS and not _NEED_NO_JOURNAL.search(scope["path"]):
            fault = _service(scope).journal.fault
            if fault:
                error = BackendUnavailable(f"{_UNWRITABLE_DETAIL} ({fault}){_remedy(_service(scope))}")
        return None if error is None else (error, error.status)

    def _foreign(self, scope: Scope, seen: _Headers, key: Key | None) -> Forbidden | None:
        """Return why a request by these names, or from a page of this origin, is refused."""
        server: object = (scope.get("server") or ("",))[0]
        of_page = key if isinstance(key, PanelKey) else None
        hosts = (host for host in seen.hosts if of_page is None or host.lower() != of_page.host)
        if not all(self._hosts.admits(host, server=server) for host in hosts):
            return Forbidden(not_ready.HOST_DETAIL)
        if of_page is not None:
            return None if seen.origin in (b"", of_page.origin.encode()) else Forbidden(_ELSEWHERE_DETAIL)
        if _LOGIN.search(scope["path"]):  # it takes a code or a key, which a page of somebody else's has not
            return None
        if seen.origin and not self._hosts.admits_origin(seen.origin, host=seen.hosts[0] if seen.hosts else b""):
            return Forbidden(_ORIGIN_DETAIL)
        return None


class _Headers:
    """One look at each header: this is on the path of every request."""

    __slots__ = ("authorization", "has_body", "has_parts", "hosts", "length", "origin", "request_id", "size")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.request_id = self.authorization = self.origin = b""
        self.hosts: list[bytes] = []
        self.length = self.size = 0
        self.has_parts = self.has_body = False
        for name, value in headers:
            self.size += len(name) + len(value)
            if name == b"host":
                self.hosts.append(value)
            elif name == b"authorization":
                self.authorization = value
            elif name == b"x-request-id":
                self.request_id = value
            elif name == b"origin":
                self.origin = value
            elif name == b"content-length" and value.isdigit():
                self.length = int(value[:20])
                self.has_body = True
            elif name == b"transfer-encoding":
                self.has_parts = self.has_body = True


def _service(scope: Scope) -> Service:
    return scope["app"].state.service


def _remedy(service: Service) -> str:
    return "" if service.journal.lost else "; free some space, or look at its disk"


def _limit(key: Key | None) -> int:
    return MAX_BODY_OF_STRANGER if key is None else MAX_BODY


async def _whole(receive: Receive, limits: body.Limits) -> Receive:
    """Read a body, and return what gives it out again as one part; `TimeoutError` when it paused too long."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        async with asyncio.timeout(BODY_PAUSE_S):
            message = await receive()
        if message["type"] != "http.request":  # the client went away
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise TooLarge(_TOO_LONG_DETAIL)
        more = message.get("more_body", False)
    whole = b"".join(parts)
    body.refuse_oversized(whole, limits)
    return body.again({"type": "http.request", "body": whole, "more_body": False}, receive)


def _limited(receive: Receive) -> Receive:
    """Limit a body whose length was announced: the announcement may be wrong, or the body never come."""
    taken, more = 0, True

    async def take() -> Message:
        nonlocal taken, more
        try:
            message = await (asyncio.wait_for(receive(), BODY_PAUSE_S) if more else receive())
        except TimeoutError:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, _SLOW_DETAIL) from None
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            more = message.get("more_body", False)
            if taken > MAX_BODY:
                raise HTTPException(TooLarge.status, _TOO_LONG_DETAIL)
        return message

    return take
