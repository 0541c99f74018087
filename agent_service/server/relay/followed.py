"""One service that a relay follows: its event stream, and its reads, each asked once for all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx

from agent_service.errors import BackendUnavailable
from agent_service.server.relay.broadcast import Broadcast, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

READ_HOLDS_S: Final = 1.0
"""How old an answer may be that is given again; an event of its service ends it earlier."""

_SILENT_S: Final = 30.0
_FIRST_DELAY_S: Final = 0.1
_LONGEST_DELAY_S: Final = 5.0
MOST_KEPT: Final = 256
"""Answers that are kept at a time."""

_LARGEST_KEPT: Final = 1_000_000
_API: Final = "/api/v1"

_log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a service answered."""

    status: int
    media_type: str
    body: bytes


class Followed:
    """Follows a service by its event stream; belongs to the event loop.

    ``put_everywhere`` gets each event as the stream of all services tells it.
    """

    def __init__(
        self, name: str, url: str, *, http: httpx.AsyncClient, key: str, put_everywhere: Callable[[Sent], None]
    ) -> None:
        self.name = name
        self.url = url
        self.events = Broadcast()
        self.live = False
        self.lost_because = "it is being connected"
        self._http = http
        self._headers = {"Authorization": f"Apikey {key}"}
        self._put_everywhere = put_everywhere
        self._last: str | None = None
        self._answers: dict[tuple[str, str], tuple[float, asyncio.Future[Answer]]] = {}

    @property
    def last_seq(self) -> int:
        """Number of the last fact that was told here."""
        return int(self._last or 0)

    def state(self) -> dict[str, str]:
        """Return where it is, and whether it answers, for those who follow all."""
        return {"name": self.name, "url": self.url, "state": "live" if self.live else "lost", "why": self.lost_because}

    async def asked(self, key: str) -> httpx.Response:
        """Return what the service says of itself to whoever holds ``key``; `BackendUnavailable` when it is away."""
        try:
            return await self._http.get(f"{self.url}{_API}/service", headers={"Authorization": f"Apikey {key}"})
        except httpx.TransportError as error:
            raise BackendUnavailable(f"{self.url} does not answer: {error}") from error

    async def run(self) -> None:
        """Follow for ever; a lost stream is taken up where it was lost."""
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                await self._follow()
                why = "its event stream ended"
            except (httpx.HTTPError, BackendUnavailable) as error:
                why = str(error) or type(error).__name__
            if self.live or why != self.lost_because:
                delay_s = _FIRST_DELAY_S if self.live else delay_s
                _log.warning("%s is lost: %s", self.url, why)
                self._become(live=False, why=why)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)

    async def _follow(self) -> None:
        resume = {} if self._last is None else {"Last-Event-ID": self._last}
        headers = {**self._headers, **resume, "Accept": "text/event-stream"}
        timeout = httpx.Timeout(_SILENT_S)
        async with self._http.stream("GET", f"{self.url}{_API}/events", headers=headers, timeout=timeout) as answer:
            if not answer.is_success:
                raise BackendUnavailable(f"it answered {answer.status_code} when its events were asked for")
            rest = b""
            async for piece in answer.aiter_raw():
                *whole, rest = (rest + piece).split(b"\n\n")
                for text in whole:
                    self._take(text + b"\n\n")

    def _take(self, text: bytes) -> None:
        """Hand on an event just as it came: the service has encoded it."""
        fields = dict(line.split(b": ", 1) for line in text.splitlines() if b": " in line)
        kind, number = fields.get(b"event", b"").decode(), fields.get(b"id", b"").decode()
        if number.isdigit():
            self._last = number
        elif kind == "reset":
            self._last = None
        seq = int(number) if number.isdigit() else None
        self._answers.clear()
        self.events.put(Sent(text, self.name, seq, kind))
        if not self.live:
            self._become(live=True, why="")
        if kind != "heartbeat":
            frame = b'event: %b\ndata: {"service":%b,"event":%b}\n\n'
            data = fields.get(b"data", b"null")
            self._put_everywhere(
                Sent(frame % (kind.encode(), json.dumps(self.name).encode(), data), self.name, None, kind)
            )

    def _become(self, *, live: bool, why: str) -> None:
        self.live, self.lost_because = live, why
        self._answers.clear()
        text = f"event: link\ndata: {json.dumps(self.state())}\n\n".encode()
        self._put_everywhere(Sent(text, self.name, None, "link"))
        self.events.wake()

    async def read(self, path: str, query: str, *, accept: str) -> Answer:
        """Return what the service answers to a read, which is asked once for all who ask at that time.

        ``accept`` is the header of who asks. `BackendUnavailable` when the service does not answer.
        """
        if not self.live:
            raise BackendUnavailable(f"{self.url} is lost: {self.lost_because}")
        what = (f"{path}?{query}" if query else path), accept
        now = asyncio.get_running_loop().time()
        at, asked = self._answers.get(what, (0.0, None))
        if asked is None or (asked.done() and now - at > READ_HOLDS_S):
            asked = asyncio.ensure_future(self._ask(*what))
            if len(self._answers) >= MOST_KEPT:
                del self._answers[next(iter(self._answers))]
            self._answers[what] = (now, asked)
            asked.add_done_callback(lambda done: self._forget_unless_small(what, done))
        return await asyncio.shield(asked)

    def _forget_unless_small(self, what: tuple[str, str], done: asyncio.Future[Answer]) -> None:
        if done.cancelled() or done.exception() or len(done.result().body) > _LARGEST_KEPT:
            with contextlib.suppress(KeyError):
                if self._answers[what][1] is done:
                    del self._answers[what]

    async def _ask(self, target: str, accept: str) -> Answer:
        headers = {**self._headers, "Accept": accept} if accept else self._headers
        try:
            answer = await self._http.get(f"{self.url}{target}", headers=headers)
        except httpx.TransportError as error:
            raise BackendUnavailable(f"{self.url} does not answer: {error}") from error
        return Answer(answer.status_code, answer.headers.get("content-type", ""), answer.content)
