"""Facts as lines for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_service.models import ID_KEY, EventKind
from agent_service.models.states import SuggestionState
from notebook_widgets.panels.plots import brief

if TYPE_CHECKING:
    from agent_service.models import Event

_UNHAPPY: Final = frozenset(
    {SuggestionState.FAILED, SuggestionState.REJECTED, SuggestionState.EXPIRED, SuggestionState.ABANDONED}
)


def described(event: Event) -> str | None:
    """Return a fact as one line, or None when it is a step on a suggestion's usual way."""
    data: dict[str, Any] = event.data
    because = f": {data['reason']}" if data.get("reason") else ""
    if event.kind is EventKind.SUGGESTION_STATE:
        unhappy = SuggestionState(data["state"]) in _UNHAPPY
        return f"{data['id'][:4]}… {data['state']}{because}" if unhappy else None
    lines = {
        EventKind.AGENT_STATE: lambda: f"{'removed' if data.get('removed') else data['state']}{because}",
        EventKind.INGEST: lambda: "; ".join(_values(point) for point in data["points"]),
        EventKind.REPORT: lambda: "reported",
        EventKind.METHOD: lambda: f"{data['method']} was called",
        EventKind.CONFIG: lambda: _change(data),
        EventKind.QUEUE_STATE: lambda: _queue(data, because),
    }
    line = lines.get(event.kind)
    return line() if line else None


def _queue(data: dict[str, Any], because: str) -> str | None:
    if data["command"] == "claim" or (data["command"] == "move" and "plan" in data):  # how it ended is told
        return None
    if data["command"] == "moved":
        return f"{'moved' if data['begun'] else 'not moved'} to {_values(data['point'])}{because}"
    return f"{data['command']}{because}"


def _values(point: dict[str, Any]) -> str:
    return ", ".join(f"{name} {brief(value)}" for name, value in point.items() if name != ID_KEY)


def _change(data: dict[str, Any]) -> str:
    if "variable" in data:
        return f"{data['variable']} set to {brief(data['value'])}"
    return f"{' and '.join(sorted(data.keys() - {'by'}))} changed"
