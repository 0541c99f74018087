"""Events that many follow: each is bytes once, and who waits is woken by one future."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic_core import from_json

from agent_service.models import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEPT: Final = 10_000
"""Events that a follower may lag behind, or be away for."""

GATHER_S: Final = 0.05
"""How long events are gathered before they go out together."""


class Sent(NamedTuple):
    """An event as it goes out, and what a follower may choose by."""

    text: bytes
    service: str
    seq: int | None = None
    kind: str = ""

    @property
    def agent(self) -> str | None:
        """The agent that it is about, None for the service."""
        data = self.text.partition(b"\ndata: ")[2].partition(b"\n")[0]
        return from_json(data).get("agent")


class Broadcast:
    """The last events of a stream, for any number of followers; belongs to the event loop."""

    def __init__(self) -> None:
        self._events: list[Sent] = []
        self._first = 0
        self._shown = 0
        self._joined: dict[int, bytes] = {}
        self._more: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def end(self) -> int:
        """Number of the place behind the last event that was shown."""
        return self._shown

    def put(self, event: Sent) -> None:
        """Add an event; followers are woken when some were gathered."""
        self._events.append(event)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.wake)

    def wake(self) -> None:
        """Show what was gathered, and let each follower look."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._shown = self._first + len(self._events)
        self._joined.clear()
        if len(self._events) > 2 * KEPT:
            del self._events[:-KEPT]
            self._first = self._shown - KEPT
        more, self._more = self._more, None
        if more is not None:
            more.set_result(None)

    async def more(self) -> None:
        """Return at the next `wake`."""
        if self._more is None:
            self._more = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._more)  # shared: one that is called off must not end it for all

    def since(self, place: int, wanted: Callable[[Sent], bool] | None) -> bytes | None:
        """Return the events from ``place`` on, joined; None when some of them are no longer here."""
        if place < self._first:
            return None
        if wanted is not None:
            return b"".join(event.text for event in self._slice(place) if wanted(event))
        if place not in self._joined:
            self._joined[place] = b"".join(event.text for event in self._slice(place))
        return self._joined[place]

    def place_after(self, seq: int) -> int | None:
        """Return the place behind the fact of that number, None when it is not known here."""
        for i in range(self._shown - self._first - 1, -1, -1):
            if self._events[i].kind == EventKind.RESET:  # what was before is of another journal
                return None
            if (known := self._events[i].seq) is not None and known <= seq:
                return self._first + i + 1 if known == seq else None
        return None

    def _slice(self, place: int) -> Sequence[Sent]:
        return self._events[place - self._first : self._shown - self._first]
