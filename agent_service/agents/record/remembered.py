"""Which facts of an agent are looked up one by one: what its brain is told again, and the table of points needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_service.models import EventKind
from agent_service.models.state_machines import SuggestionState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.models import Event

WITHOUT_OUTCOME: Final = frozenset(
    {SuggestionState.REJECTED, SuggestionState.EXPIRED, SuggestionState.FAILED, SuggestionState.ABANDONED}
)


def is_remembered(state: str, data: Mapping[str, Any]) -> bool:
    """Return whether a fact of a suggestion in that state is one of them."""
    if state == SuggestionState.PROPOSED:
        return not data.get("again")
    return state in WITHOUT_OUTCOME or (state == SuggestionState.APPROVED and "point" in data)


def is_told(event: Event) -> bool:
    """Return whether a fact of an agent is one that its brain may be told again."""
    data: dict[str, Any] = event.data
    if event.kind is EventKind.SUGGESTION_STATE:
        return is_remembered(data["state"], data)
    return event.kind in (EventKind.INGEST, EventKind.CONFIG) or (event.kind is EventKind.METHOD and data["replay"])
