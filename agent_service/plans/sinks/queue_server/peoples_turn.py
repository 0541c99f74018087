"""Time for people to start the queue that they filled: while an item of ours runs, the manager refuses to start it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent_service.plans.sinks.queue_server.manager import Manager

START_WITHIN_S: Final = 5.0
"""How long people have to start their queue, if it does not start by itself, before the next item of ours."""


class PeoplesTurn:
    """Keeps our items back for a while after people put one into the queue, and after a lock. In the event loop."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._is_owed = False
        self._since = 0.0
        self._items: int | None = None  # as seen last

    @property
    def items(self) -> int:
        """How many items wait in the queue; ours never do."""
        return int(self._manager.status.get("items_in_queue") or 0)

    @property
    def starts_itself(self) -> bool:
        """Whether the queue starts by itself."""
        return bool(self._manager.status.get("queue_autostart_enabled"))

    def owe(self) -> None:
        """Give people their time once what is under way has ended."""
        self._is_owed = True

    def look(self, *, free: bool) -> None:
        """Look at what the manager said last; ``free``: no item of ours is under way."""
        came = self._items is not None and self.items > self._items
        if came or self._manager.is_locked:  # people lock a queue to fill it, and start it after that
            self.owe()
        self._items = self.items
        if self._is_owed and free and not self._manager.is_locked:
            self._is_owed, self._since = False, time.monotonic()

    def keeps_back(self) -> str | None:
        """Return why no item of ours is sent though the manager would take it."""
        if not self.items:
            return None
        if self.starts_itself or self._is_owed or time.monotonic() < self._since + START_WITHIN_S:
            return "an item of somebody waits in the queue, and goes first"
        return None
