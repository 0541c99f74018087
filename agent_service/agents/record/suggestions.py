"""What single facts say: of a suggestion, proposed or followed by its fate, and of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_service.models import Report, Suggestion
from agent_service.models.state_machines import SuggestionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_service.models import Event

FILLER: Final = "filler"
"""By whom a filler point is, in the facts."""

_FATE: Final = frozenset({"run_uid", "run_uids", "outcome", "sem", "reason", "point", "void", "traceback"})
"""What of a suggestion a fact may change, beside its state."""

STATES: Final = {str(state): state for state in SuggestionState}
_P: Final = SuggestionState.PROPOSED
_NO_RUNS: Final[list[str]] = []
_NO_ERRORS: Final[dict[str, float]] = {}


def report_of(event: Event) -> Report:
    """Return the report that a fact tells."""
    data: dict[str, Any] = event.data
    return Report(seq=event.seq or 0, at=event.time, report=data["report"])


def proposed(event: Event) -> Suggestion:
    """Return the suggestion that a fact proposes."""
    data: dict[str, Any] = event.data
    return Suggestion.known(
        id=data["id"],
        agent=event.agent,
        state=_P,
        point=data["point"],
        plan=data.get("plan"),
        run_uid=None,
        run_uids=_NO_RUNS,
        outcome=None,
        sem=_NO_ERRORS,
        extra=data.get("extra") or {},
        reason=data.get("reason"),
        proposed_by=data["by"] if data.get("by_hand") else None,
        approved_by=None,
        approved_at=None,
        suggested_point=None,
        rejected_by=None,
        traceback=None,
        retry_of=data.get("retry_of"),
        filler=data["by"] == FILLER,
        void=False,
        created_at=event.time,
        updated_at=event.time,
    )


def followed(old: Suggestion, event: Event) -> Suggestion:
    """Return what a suggestion is after the next fact about it."""
    data: dict[str, Any] = event.data
    state = STATES[data["state"]]
    changed = {key: value for key, value in data.items() if key in _FATE}
    if state is _P:  # its approval has expired
        changed |= {"approved_by": None, "approved_at": None}
    elif state is SuggestionState.APPROVED and data.get("word"):
        changed |= {"approved_by": data.get("by"), "approved_at": event.time}
        suggested = old.suggested_point or old.point
        changed["suggested_point"] = None if data.get("point", old.point) == suggested else suggested
    elif state is SuggestionState.REJECTED:
        changed["rejected_by"] = data.get("by")
    return Suggestion.known(**{**vars(old), "state": state, "updated_at": event.time, **changed})


def recalled(facts: Iterable[Event]) -> dict[str, tuple[Suggestion, str]]:
    """Return by id the suggestions that facts about them say, and by whom each was proposed.

    One whose first fact is not among them is left out: it is forgotten.
    """
    suggestions: dict[str, tuple[Suggestion, str]] = {}
    for fact in facts:
        suggestion_id = str(fact.data["id"])
        if fact.data["state"] == SuggestionState.PROPOSED and not fact.data.get("again"):
            suggestions[suggestion_id] = proposed(fact), str(fact.data["by"])
        elif suggestion_id in suggestions:
            suggestion, by = suggestions[suggestion_id]
            suggestions[suggestion_id] = followed(suggestion, fact), by
    return suggestions
