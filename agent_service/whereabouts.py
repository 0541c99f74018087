"""Where the actuators were last, as far as this service knows: what the guardrails count a step from.

Its own plans say where they sent an actuator; runs that are not its own say where they measured it. The later one
counts. Nothing of it is a fact: after a restart the journal tells where plans sent things, and the next run the rest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent_service.protocols import Document

RUNS_KEPT: Final = 100
"""Open runs of others that are followed."""


class Whereabouts:
    """Keeps positions by actuator, in its units; belongs to the event loop.

    Parameters
    ----------
    is_actuator
        Whether an agent has an actuator of that name: nothing else is remembered.

    Attributes
    ----------
    positions
        Where each actuator was last. May be read from any thread.
    """

    def __init__(self, is_actuator: Callable[[str], bool]) -> None:
        self.positions: dict[str, float] = {}
        self._is_actuator = is_actuator
        self._at: dict[str, float] = {}
        self._others: dict[str, set[str]] = {}

    def sent(self, point: Mapping[str, float], *, at: float) -> None:
        """Note that actuators were sent to ``point``, at a time in seconds since the epoch."""
        for name, position in point.items():
            self._note(name, position, at)

    def take(self, name: str, document: Document) -> None:
        """Look at a document: an event of a run that is not for a suggestion says where somebody else's plan went."""
        if name == "start":
            if not document.get("agent_suggestion_uid"):
                self._others[str(document.get("uid"))] = set()
                if len(self._others) > RUNS_KEPT:  # their stop documents never came
                    del self._others[next(iter(self._others))]
        elif name == "descriptor":
            if (streams := self._others.get(str(document.get("run_start")))) is not None:
                streams.add(str(document.get("uid")))
        elif name == "stop":
            self._others.pop(str(document.get("run_start")), None)
        elif name in ("event", "event_page"):
            stream = str(document.get("descriptor"))
            if any(stream in streams for streams in self._others.values()):
                self._measured(document)

    def _measured(self, event: Document) -> None:
        data = cast("dict[str, Any]", event.get("data") or {})
        at = _last(event.get("time"))
        for name, values in data.items():
            position = _last(values)
            if at is not None and position is not None and self._is_actuator(name):
                self._note(name, position, at)

    def _note(self, name: str, position: float, at: float) -> None:
        if at >= self._at.get(name, -math.inf):
            self.positions[name], self._at[name] = position, at


def _last(value: object) -> float | None:
    """Return a number, or the last one of a page's; None when it is none."""
    if isinstance(value, list):
        value = cast("list[object]", value)[-1] if value else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
