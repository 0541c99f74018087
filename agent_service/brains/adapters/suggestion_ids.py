"""Which suggestion of the service is which of the brain, which numbers its own (Ax: trials) or knows no numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.brains.adapters.values import id_key
from agent_service.models.real_numbers import real

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class SuggestionIds:
    """The ids of one agent's suggestions, the service's and the brain's; a place is known by the agent's actuators."""

    def __init__(self, actuators: Sequence[str]) -> None:
        self._actuators = actuators
        self._open: dict[str, Any] = {}  # of suggestions the brain still waits for
        self._all: dict[object, str] = {}  # all that there ever were, for the best points
        self._measured: dict[tuple[float, ...], str] = {}

    def __contains__(self, suggestion_id: str) -> bool:
        """Return whether the brain waits for a suggestion, and knows it by an id of its own."""
        return suggestion_id in self._open

    def keep(self, suggestion_id: str, brain_id: object) -> None:
        """Note the brain's id of a suggestion, if it gave one."""
        if brain_id is not None:
            self._open[suggestion_id] = brain_id
            self._all[id_key(brain_id)] = suggestion_id

    def pop(self, suggestion_id: str) -> object:
        """Return the brain's id of a suggestion, which it waits for no longer; None if it does not."""
        return self._open.pop(suggestion_id, None)

    def measured(self, suggestion_id: str, point: Mapping[str, Any]) -> None:
        """Note where a suggestion was measured."""
        self._measured[self._place(point)] = suggestion_id

    def find(self, brain_id: object, point: Mapping[str, Any]) -> str | None:
        """Return the suggestion that a brain means by its id, or by a point that was measured."""
        return self._all.get(id_key(brain_id)) or self._measured.get(self._place(point))

    def _place(self, point: Mapping[str, Any]) -> tuple[float, ...]:
        places = (real(point[name]) for name in self._actuators if name in point)
        return tuple(float(place) for place in places if place is not None)
