"""Which facts of an agent are remembered one by one: what its brain is told again, and the table of points needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_service.models import Event
from agent_service.models.state_machines import SuggestionState

if TYPE_CHECKING:
    from collections.abc import Mapping

WITHOUT_OUTCOME: Final = frozenset(
    {SuggestionState.REJECTED, SuggestionState.EXPIRED, SuggestionState.FAILED, SuggestionState.ABANDONED}
)


def is_remembered(state: SuggestionState, data: Mapping[str, Any]) -> bool:
    """Return whether a fact of a suggestion in that state is remembered."""
    if state is SuggestionState.PROPOSED:
        return not data.get("again")
    return state in WITHOUT_OUTCOME or (state is SuggestionState.APPROVED and "point" in data)


def remembered(event: Event) -> Event:
    """Return the fact that outcomes were told, without what is kept elsewhere or of no use later."""
    return with_data(event, {key: value for key, value in event.data.items() if key not in ("best", "request")})


def with_data(event: Event, data: dict[str, Any]) -> Event:
    """Return a fact with other data."""
    return Event.known(seq=event.seq, time=event.time, agent=event.agent, kind=event.kind, data=data)
