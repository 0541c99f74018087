"""The HTTP of a relay: the reads and events of each service below its name, the events of all, and a page of all."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote

import httpx
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from agent_service.errors import BackendUnavailable, Forbidden, NotFound, ServiceError, TooMany, UsageError
from agent_service.models import EventKind
from agent_service.server import error_responses
from agent_service.server.relay.broadcast import Broadcast, Sent
from agent_service.server.relay.followed import Followed
from agent_service.server.relay.grants import Grants, opens
from agent_service.server.relay.streams import FollowerStream, beat, transient
from agent_service.server.routes.page import HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from agent_service.server.relay.grants import Grant

MAX_FOLLOWERS: Final = 4000
HEARTBEAT_S: Final = 10.0

_OWN, _VIEW, _PAGE = "relay/static", "static/view", "static/page"
_FILES: Final = {
    "": f"{_OWN}/relay.html",
    **{name: f"{_OWN}/{name}" for name in ("relay.js", "relay.css")},
    **{name: f"{_VIEW}/{name}" for name in ("dom.js", "words.js", "panel.css")},
    **{name: f"{_PAGE}/{name}" for name in ("page.css", "icon.svg")},
}
"""The files of the page, and where each lies: its look and its words are those of a service's own page."""


class Relay:
    """The ASGI application of a relay; belongs to the event loop. See `create_relay`."""

    def __init__(self, services: Mapping[str, tuple[str, str]], *, transport: httpx.AsyncBaseTransport | None) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._http = httpx.AsyncClient(timeout=30, limits=limits, transport=transport)
        self.everything = Broadcast()
        self.followed = {
            name: Followed(name, url, http=self._http, key=key, put_everywhere=self.everything.put)
            for name, (url, key) in services.items()
        }
        self._keys = {name: key for name, (_, key) in services.items()}
        self._grants = Grants(self.followed)
        self._tasks: list[asyncio.Task[None]] = []
        self.refused: UsageError | None = None  # why it did not start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            answer = await self._answer(scope)
        except ServiceError as error:
            answer = error_responses.problem(error, request_id=None)
        await answer(scope, receive, send)

    async def start(self) -> None:
        """Look whether the services take this relay's keys, and follow them; one that is away is awaited.

        `UsageError` for a key that is refused, or may do more than read.
        """
        for name, service in self.followed.items():
            with contextlib.suppress(BackendUnavailable):
                try:
                    taken = await opens(service, self._keys[name])
                except Forbidden as error:
                    raise UsageError(f"the key for {service.url}: {error.detail}") from error
                if not taken:
                    raise UsageError(f"{service.url} does not take the key in AGENT_SERVICE_API_KEY for it")
        runs = [service.run() for service in self.followed.values()]
        self._tasks = [asyncio.create_task(run) for run in (*runs, self._beat(), self._grants.forget_unused())]

    async def stop(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except UsageError as error:
            self.refused = error
            await send({"type": "lifespan.startup.failed", "message": error.detail})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self.everything.put(Sent(beat(), "", None, EventKind.HEARTBEAT))

    async def _answer(self, scope: Scope) -> ASGIApp:
        """Return what answers a request: the page, and the relay's own health, to anybody."""
        path = unquote(scope["raw_path"].decode("latin-1")).removeprefix(scope.get("root_path", "")).removeprefix("/")
        if scope["method"] not in ("GET", "HEAD"):
            raise Forbidden("a relay only reads; ask the service itself")
        first, _, rest = path.partition("/")
        service = self.followed.get(first)
        if path in _FILES:
            return _file(_FILES[path])
        if path == "healthz":
            return JSONResponse({"status": "ok"})
        if service is not None and rest == "healthz":
            return JSONResponse(service.state(), status_code=200 if service.live else 503)
        return await self._for_key(scope, path)

    async def _for_key(self, scope: Scope, path: str) -> ASGIApp:
        """Return what answers a request that needs a key."""
        first, _, rest = path.partition("/")
        service, headers = self.followed.get(first), Headers(scope=scope)
        keys = headers.get("authorization", "")
        grant = await self._grants.of(keys)
        if path == "api/v1/services":
            return JSONResponse([each.state() for name, each in self.followed.items() if name in grant.services])
        if path == "api/v1/events":
            return self._of_all(grant, keys)
        if service is None or first not in grant.services or not rest.startswith("api/v1/") or ".." in rest:
            there = ", ".join(sorted(grant.services))
            raise NotFound(f"there is nothing at /{path}; this relay has /NAME/api/v1/... for {there}")
        query: str = scope["query_string"].decode("latin-1")
        if rest == "api/v1/events":
            return self._of_one(service, parse_qs(query), headers.get("last-event-id"), grant, keys)
        target = scope["raw_path"].decode("latin-1").removeprefix(scope.get("root_path", "")).removeprefix(f"/{first}")
        answer = await service.read(target, query, accept=headers.get("accept", ""))
        return Response(answer.body, status_code=answer.status, media_type=answer.media_type)

    def _of_all(self, grant: Grant, keys: str) -> FollowerStream:
        """Return the stream of all services that some keys open."""
        allowed = grant.services

        def opened(event: Sent) -> bool:
            return not event.service or event.service in allowed

        wanted = None if allowed == self.followed.keys() else opened
        return self._stream(self.everything, grant, keys, first=beat(), wanted=wanted)

    def _of_one(
        self, service: Followed, query: dict[str, list[str]], last: str | None, grant: Grant, keys: str
    ) -> FollowerStream:
        """Return the stream of one service, as that itself would have it."""
        if not service.live:
            raise BackendUnavailable(f"{service.url} is lost: {service.lost_because}")
        service.events.wake()  # so that its number and its place belong together
        first, place = beat(seq=service.last_seq), None
        if last is not None and last.isascii() and last.isdigit():
            place = service.events.place_after(int(last))
            reset = transient(EventKind.RESET, {"last_seq": service.last_seq}) + first
            first = reset if place is None else beat(seq=int(last))
        return self._stream(
            service.events, grant, keys, first=first, place=place, wanted=_chosen(query), only_while=service
        )

    def _stream(
        self, events: Broadcast, grant: Grant, keys: str, *, place: int | None = None, **how: Any
    ) -> FollowerStream:
        if self._grants.followers >= MAX_FOLLOWERS:
            raise TooMany(f"{self._grants.followers} follow here already; start another relay beside this one")
        place = events.end if place is None else place
        return FollowerStream(
            events=events, grant=grant, check=partial(self._grants.check, keys, grant), place=place, **how
        )


def _chosen(query: dict[str, list[str]]) -> Callable[[Sent], bool] | None:
    """Return what chooses the events of a query, as the service's own stream does; None: all."""
    agent, kinds = query.get("agent", [None])[0], {*query.get("kind", ()), EventKind.HEARTBEAT, EventKind.RESET}
    if agent is None and len(kinds) == 2:  # noqa: PLR2004 - those that come in any case
        return None
    asked = "kind" in query
    return lambda sent: (not asked or sent.kind in kinds) and (agent is None or sent.agent in (None, agent))


def _file(name: str) -> Response:
    text = files("agent_service.server").joinpath(*name.split("/")).read_bytes()
    kinds = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    return Response(text, media_type=kinds[name.rpartition(".")[2]], headers=dict(HEADERS))


def create_relay(
    services: Mapping[str, tuple[str, str]], *, transport: httpx.AsyncBaseTransport | None = None
) -> Relay:
    """Return the ASGI application that relays services.

    Parameters
    ----------
    services
        By name the address of a service, and a key of it that may only read.
    transport
        An httpx transport, to reach the services otherwise than over sockets.

    Examples
    --------
    >>> relay = create_relay({"hxn": ("http://127.0.0.1:8000", "KEY")})
    >>> list(relay.followed)
    ['hxn']
    """
    return Relay(services, transport=transport)
