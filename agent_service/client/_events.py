"""The place of a follower in the event stream, to continue there after a lost connection. Does no I/O."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent_service.client._calls import API, raise_problem, transport_error
from agent_service.errors import BackendUnavailable
from agent_service.models import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx
    from httpx_sse import ServerSentEvent

FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 2.0


class EventCursor:
    """One follower's place in the stream: ``last_event_id`` is the seq of the last event already seen.

    ``patience_s`` is how long to keep trying when the service does not answer, in seconds.
    """

    def __init__(
        self, url: str, *, agent: str | None, kinds: Sequence[str], last_event_id: int | None, patience_s: float
    ) -> None:
        self._url = url
        self._agent = agent
        self._kinds = [str(kind) for kind in kinds]
        self._last = last_event_id
        self._patience_s = patience_s
        self._lost_at: float | None = None
        self._delay_s = FIRST_DELAY_S

    path = f"{API}/events"

    @property
    def params(self) -> dict[str, str | list[str]]:
        """Query of the next request."""
        agent: dict[str, str | list[str]] = {} if self._agent is None else {"agent": self._agent}
        return {**agent, "kind": self._kinds} if self._kinds else agent

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the next request. Without ``Accept``, a proxy would buffer the stream."""
        resume = {} if self._last is None else {"Last-Event-ID": str(self._last)}
        return {"Accept": "text/event-stream", "Cache-Control": "no-store", **resume}

    def opened(self) -> None:
        """Note that the service answered."""
        self._lost_at = None

    def read(self, message: ServerSentEvent) -> Event | None:
        """Return the event in a message, None if this client does not know its kind."""
        self._delay_s = FIRST_DELAY_S
        if message.id.isdigit():
            self._last = int(message.id)
        try:
            return Event.model_validate_json(message.data)
        except ValidationError:
            # a newer service may have kinds of events that this client has not
            return None

    def refused(self, response: httpx.Response) -> BackendUnavailable:
        """Return the error of a service that starts or stands by, or of a proxy without one; raise any other."""
        try:
            raise_problem(response)
        except BackendUnavailable as error:
            return error
        raise AssertionError("it was not refused")

    def lost(self, error: httpx.TransportError | BackendUnavailable | None) -> float:
        """Return after how many seconds to reconnect, or raise if the service did not answer for too long."""
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
        elif error is not None and now - self._lost_at > self._patience_s:
            if isinstance(error, BackendUnavailable):
                raise error
            raise transport_error(error, url=self._url, timeout_s=self._patience_s) from error
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, LONGEST_DELAY_S)
        return delay_s
