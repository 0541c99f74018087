"""Where the actuators were last, as far as this service knows: what the guardrails count a step from.

Its own plans say where they sent an actuator; runs that are not its own say where they measured it. The one that
arrived later counts: the times in documents are whatever a clock, or who posts them, says. Where the service has a
RunEngine to listen to, documents that were posted over HTTP count only for what it has not heard of itself. After a
restart the journal tells where plans sent things, and the next run the rest.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.models.real_numbers import real
from agent_service.models.values import is_number
from agent_service.protocols import READBACKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agent_service.models import Value
    from agent_service.protocols import Document

RUNS_KEPT: Final = 100
"""Open runs of others that are followed."""

STREAMS_KEPT: Final = 100
"""Streams of such a run that are followed."""

SPARE_KEPT: Final = 10_000
"""Names that are remembered though no agent has an actuator of that name: one may come."""

_DIMENSIONS: Final = 8
"""Most dimensions of an array of one element; a list may hold itself."""

LONGEST_NAME: Final = 200
"""Longest name that is remembered, in characters."""


@dataclass(slots=True)
class _OthersRun:
    """An open run that is not for a suggestion: whether it is hearsay, and the aliases of its streams' keys."""

    hearsay: bool
    streams: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])


class LastPositions:
    """Keeps positions by name, in its unit. May be used from any thread, but for `on_document`.

    ``is_actuator`` says whether an agent has an actuator of that name: its position is never forgotten; ``is_ours``
    whether a suggestion is of this service: where its run went is told by `sent`.
    """

    def __init__(
        self, is_actuator: Callable[[str], bool], is_ours: Callable[[str], bool] = lambda suggestion_id: True
    ) -> None:
        self.positions: dict[str, float] = {}
        self._is_actuator = is_actuator
        self._is_ours = is_ours
        self._lock = threading.Lock()
        self._firm: set[str] = set()
        self._spare: dict[str, None] = {}
        self._others: dict[str, _OthersRun] = {}

    def sent(self, point: Mapping[str, Value]) -> None:
        """Note that actuators were sent to ``point``, of which numbers are positions."""
        for name, position in point.items():
            if is_number(position):
                self._note(name, position, firm=True)

    def on_document(self, name: str, document: Document, run: str, *, hearsay: bool = False) -> None:
        """Look at a document: an event of a run that is not for a suggestion says where somebody else's plan went.

        ``run`` is the uid of its run. ``hearsay``, which is looked at with the start of each, is whether it counts only
        for what is not known otherwise.
        """
        if name == "start":
            self._begin(document, run, hearsay=hearsay)
        elif (others := self._others.get(run)) is None:
            return
        elif name == "descriptor":
            others.streams[str(document.get("uid"))] = _aliases(document)
            _drop_oldest(others.streams, STREAMS_KEPT)
        elif name == "stop":
            del self._others[run]
        elif name in _VALUES and (aliases := others.streams.get(str(document.get("descriptor")))) is not None:
            self._measured(document, aliases, firm=not others.hearsay, value=_VALUES[name])

    def _begin(self, start: Document, run: str, *, hearsay: bool) -> None:
        suggestion_id = start.get("agent_suggestion_uid")
        if not (isinstance(suggestion_id, str) and suggestion_id and self._is_ours(suggestion_id)):
            self._others.setdefault(run, _OthersRun(hearsay))
            _drop_oldest(self._others, RUNS_KEPT)  # their stop documents never came

    def _measured(
        self, event: Document, aliases: Mapping[str, str], *, firm: bool, value: Callable[[object], float | None]
    ) -> None:
        data = event.get("data")
        if not isinstance(data, dict):
            return
        positions: dict[str, float] = {}
        for key, values in cast("dict[str, Any]", data).items():
            if (position := value(values)) is not None:
                positions[key] = position
        for alias, key in aliases.items():
            if key in positions:
                positions.setdefault(alias, positions[key])
        for name, position in positions.items():
            self._note(name, position, firm=firm)

    def _note(self, name: str, position: float, *, firm: bool) -> None:
        if len(name) > LONGEST_NAME or (not firm and name in self._firm):
            return
        with self._lock:
            self.positions[name] = position
            if firm:
                self._firm.add(name)
            if self._is_actuator(name):
                return
            self._spare.pop(name, None)
            self._spare[name] = None
            while len(self._spare) > SPARE_KEPT:
                oldest = next(iter(self._spare))
                del self._spare[oldest]
                if not self._is_actuator(oldest):
                    del self.positions[oldest]
                    self._firm.discard(oldest)


def _value(value: object) -> float | None:
    """Return a number; JSON has an array of one element as a list."""
    for _ in range(_DIMENSIONS):
        if not isinstance(value, list | tuple):
            return real(value)
        elements = cast("Sequence[object]", value)
        if len(elements) != 1:
            return None
        value = elements[0]
    return None


def _last_value(column: object) -> float | None:
    """Return the last number of a page's column."""
    if getattr(column, "ndim", 0) and hasattr(column, "tolist"):
        column = cast("Any", column).tolist()
    if isinstance(column, list | tuple):
        values = cast("Sequence[object]", column)
        return _value(values[-1]) if values else None
    return None


_VALUES: Final[Mapping[str, Callable[[object], float | None]]] = {"event": _value, "event_page": _last_value}


def _aliases(descriptor: Document) -> dict[str, str]:
    """Return the key of a stream that says where a device is, by the device's name, where the two differ."""
    keys = _strings(descriptor.get("data_keys"))
    aliases: dict[str, str] = {}
    for key in keys:
        for ending in READBACKS:
            if key.endswith(ending):
                aliases.setdefault(key.removesuffix(ending), key)
                break
    objects, hints = descriptor.get("object_keys"), descriptor.get("hints")
    if isinstance(objects, dict):
        for device, names in cast("dict[Any, Any]", objects).items():
            hint = cast("dict[Any, Any]", hints).get(device) if isinstance(hints, dict) else None
            hinted = cast("dict[Any, Any]", hint).get("fields") if isinstance(hint, dict) else None
            for only in (_strings(hinted), _strings(names)):
                if len(only) == 1 and isinstance(device, str):
                    aliases.setdefault(device, only[0])
    return {name: key for name, key in aliases.items() if name not in keys}


def _strings(value: object) -> list[str]:
    names = cast("Iterable[object]", value) if isinstance(value, dict | list | tuple) else ()
    return [name for name in names if isinstance(name, str)]


def _drop_oldest(kept: dict[str, Any], at_most: int) -> None:
    while len(kept) > at_most:
        del kept[next(iter(kept))]
