"""One connection of the service: uvicorn's, with limits on what comes before a request is there to be judged.

httptools, the parser that runs here, collects a header for as long as it goes on, and uvicorn waits for the rest of a
head for ever. So whoever can reach the port could fill the memory, or use up the file handles that the journal needs.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

MAX_HEAD: Final = 65_536
"""Bytes, about, of a request line and headers that are not complete yet; of trailers, too."""

HEAD_WITHIN_S: Final = 20.0
"""How long a head may take to come, in seconds."""

MAX_CONNECTIONS: Final = 512
"""Open connections. The next one costs one that asks for nothing at the time its place."""

_log = logging.getLogger(__name__)


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed when a head is too long or too slow; belongs to the event loop."""

    most_connections: ClassVar = MAX_CONNECTIONS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = False
        self._moved = False
        self._loose = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request of it is being answered."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection; when there are too many, close one that is idle, or this one if none is."""
        super().connection_made(transport)
        self._start_timer()
        if len(self.connections) > self.most_connections:
            others = (other for other in self.connections if isinstance(other, BoundedConnection) and other is not self)
            victim = next((other for other in others if other.idle), self)
            _log.info("over %d connections; one is closed", self.most_connections)
            self.connections.discard(victim)
            victim.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End with the connection."""
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and look how much of it is neither a complete head nor a body."""
        self._moved = False
        super().data_received(data)
        self._loose = 0 if self._moved else self._loose + len(data)
        if self._loose > MAX_HEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._timer is None and (self._in_head or self.idle):
            self._start_timer()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Let the application have the request."""
        self._in_head, self._moved = False, True
        self._cancel_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body: its limits are those of `request_checks`."""
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request's body."""
        self._moved = True
        super().on_message_complete()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_WITHIN_S, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: HTTPStatus) -> None:
        self._cancel_timer()
        if self.transport.is_closing():
            return
        if self.idle:  # else it would end up within another answer
            response = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(response.encode("ascii"))
        self.transport.close()
