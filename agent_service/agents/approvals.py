"""Which suggestions of an agent a person has to approve, how long that holds, and what follows after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from agent_service.models import by_hand, utcnow
from agent_service.models.state_machines import SuggestionState
from agent_service.models.values import is_number, same, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.agents.record.agent import AgentRecord
    from agent_service.models import LoopSpec, Point, ServiceGuardrails, Suggestion

EXPIRED: Final = "its approval has expired"

_WAITS: Final = (SuggestionState.APPROVED, SuggestionState.SUBMITTED)


class Approvals:
    """What the approvals of one agent say now; from any thread."""

    def __init__(self, record: AgentRecord, service: ServiceGuardrails) -> None:
        self._record = record
        self._service = service

    @property
    def may_be_needed(self) -> bool:
        """Whether there are points that a person has to approve: the agent says so, or the service does for all."""
        return self._left() > 0 or bool(self._record.spec.loop.approval_distance)

    def needed(self, point: Point) -> str:
        """Return why a person has to approve a point of the loop's; an empty text when nobody has to."""
        if left := self._left():
            return "approval is required" if left == float("inf") else f"the next {left:g} are approved by a person"
        limits = self._record.spec.loop.approval_distance
        return self._too_far(point, limits) if limits else ""

    def lacks(self, suggestion_id: str) -> str:
        """Return why a suggestion that is approved lacks a person's approval by now; an empty text when it does not."""
        suggestion = self._record.suggestions.get(suggestion_id)
        if suggestion is None or suggestion_id in self._record.approved_by_person:
            return ""
        return self.needed(suggestion.point)

    def waiting(self) -> int:
        """Return how many suggestions wait for a person."""
        proposed, by = self._record.open_in(SuggestionState.PROPOSED), self._record.proposed_by
        return sum(by.get(each.id) != "loop" or bool(self.needed(each.point)) for each in proposed)

    def expires_in_s(self, suggestion: Suggestion) -> float | None:
        """Return for how many more seconds a person's approval holds, 0 when it has expired; None: it does not end."""
        lasts_s = self._record.spec.loop.approval_expires_s
        if lasts_s is None or suggestion.approved_at is None or suggestion.state not in _WAITS:
            return None
        return max(0.0, lasts_s - (utcnow() - suggestion.approved_at).total_seconds())

    def has_expired(self, suggestion_id: str) -> bool:
        """Return whether a person's approval of a suggestion that has not begun has expired."""
        suggestion = self._record.suggestions.get(suggestion_id)
        return suggestion is not None and self.expires_in_s(suggestion) == 0

    def next_expiry_s(self) -> float | None:
        """Return in how many seconds the next approval expires; None when none will.

        One that has expired in the sink counts no more: what is there may have begun.
        """
        waiting = [(self.expires_in_s(each), each.state) for each in self._record.open_in(*_WAITS)]
        left = [(left_s, state) for left_s, state in waiting if left_s is not None]
        return min((left_s for left_s, state in left if left_s or state is SuggestionState.APPROVED), default=None)

    def _left(self) -> float:
        wanted = max(by_hand(self._record.spec.loop.approval), by_hand(self._service.approval))
        return max(0.0, wanted - self._record.approvals)

    def _too_far(self, point: Point, limits: Mapping[str, float]) -> str:
        """Return in what a point is too far from the nearest measured one; empty when one is near in each actuator.

        Only the newest measured points count: where one far back is the only near one, a person is asked.
        """
        own = {word: name for name, word in self._record.spec.names.items()}
        named = {own.get(name, name): most for name, most in limits.items()}
        for at in reversed(self._record.measured.newest):  # the latest ones are the nearest, mostly
            if all(_near(point.get(name), at.get(name), most) for name, most in named.items()):
                return ""
        listed = ", ".join(f"{text_of(most)} in {name}" for name, most in named.items())
        return f"nothing was measured within {listed} of it"


def _near(here: object, there: object, most: float) -> bool:
    """Return whether two positions of an actuator are near each other; of others than numbers, whether they are one."""
    if is_number(here) and is_number(there):
        return abs(cast("float", here) - cast("float", there)) <= most
    return here is there is None or same(here, there)


def loosened(before: LoopSpec, after: LoopSpec) -> list[str]:
    """Return what of an agent's loop asks a person less often than before, or lets an approval hold longer."""
    held, holds, inf = before.approval_expires_s, after.approval_expires_s, float("inf")
    far, farther = before.approval_distance or {}, after.approval_distance or {}
    loose = {
        "loop.approval": by_hand(after.approval) < by_hand(before.approval),
        "loop.approval_distance": any(farther.get(name, inf) > most for name, most in far.items()),
        "loop.approval_expires_s": held is not None and (holds is None or holds > held),
    }
    return [name for name, is_loose in loose.items() if is_loose]
