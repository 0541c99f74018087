"""Which suggestion of the service is which of the brain, which numbers its own (Ax: trials) or knows no numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.brains.adapters.values import id_key
from agent_service.models.values import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from agent_service.models import Value


class SuggestionIds:
    """The ids of one agent's suggestions, the service's and the brain's; a place is known by the agent's actuators."""

    def __init__(self, actuators: Sequence[str]) -> None:
        self._actuators = actuators
        self._open: dict[str, Any] = {}  # of suggestions the brain still waits for
        self._nameless: set[str] = set()  # those of them to which it gave no id
        self._all: dict[object, str] = {}  # all that there ever were, for the best points
        self._extra: dict[str, dict[str, JsonValue]] = {}
        self._measured: dict[tuple[tuple[str, Value], ...], str] = {}

    def keep(self, suggestion_id: str, brain_id: object) -> None:
        """Note the brain's id of a suggestion, if it gave one."""
        if brain_id is not None:
            self._open[suggestion_id] = brain_id
            self._all[id_key(brain_id)] = suggestion_id

    def keep_own(self, suggestion_id: str, brain_id: object) -> None:
        """Note a suggestion that the brain made, with or without an id: it may be told that it failed."""
        self.keep(suggestion_id, brain_id)
        if brain_id is None:
            self._nameless.add(suggestion_id)

    def keep_extra(self, suggestion_id: str, extra: Mapping[str, JsonValue]) -> None:
        """Note what the brain is given back with the outcome of a suggestion: what has no underscore before it."""
        if back := {key: value for key, value in extra.items() if not key.startswith("_")}:
            self._extra[suggestion_id] = back

    def pop_extra(self, suggestion_id: str) -> dict[str, JsonValue]:
        """Return what the brain is to be given back, once."""
        return self._extra.pop(suggestion_id, {})

    def pop(self, suggestion_id: str) -> object:
        """Return the brain's id of a suggestion, which it waits for no longer; None if it gave none."""
        self._nameless.discard(suggestion_id)
        return self._open.pop(suggestion_id, None)

    def waits(self, suggestion_id: str) -> bool:
        """Return whether the brain waits for a suggestion by an id of its own, or without one where it gives no ids."""
        return suggestion_id in self._open or (not self._all and suggestion_id in self._nameless)

    def rename(self, suggestion_id: str, new_id: str) -> None:
        """Let a suggestion that the brain waits for, if it does, be known by another id of the service."""
        if self.waits(suggestion_id):
            self.keep_own(new_id, self.pop(suggestion_id))
        self.keep_extra(new_id, self.pop_extra(suggestion_id))

    def measured(self, suggestion_id: str, point: Mapping[str, Any]) -> None:
        """Note where a suggestion was measured."""
        self._measured[self._place(point)] = suggestion_id

    def find(self, brain_id: object, point: Mapping[str, Any]) -> str | None:
        """Return the suggestion that a brain means by its id, or by a point that was measured."""
        return self._all.get(id_key(brain_id)) or self._measured.get(self._place(point))

    def _place(self, point: Mapping[str, Any]) -> tuple[tuple[str, Value], ...]:
        places = ((name, plain(point[name])) for name in self._actuators if name in point)
        return tuple((f"{name}?" if isinstance(at, bool) else name, at) for name, at in places if at is not None)
