"""What is known of one agent: a fold over the service's answers and events, and what a panel shows of it.

Pure: no I/O, no widgets. The service's answers come first, then the events that follow; an event that an answer already
contained changes nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from agent_service.agents.guardrail_checks import inside
from agent_service.models import ID_KEY, Event, EventKind, Suggestion
from agent_service.models.state_machines import AgentState, SuggestionState
from notebook_widgets.panels.plots import Measured, brief

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from agent_service.models import AgentStatus, Ends

MAX_LINES: Final = 200
"""Most lines of history, and of the log, that a panel keeps."""

_PACE_OF: Final = 12
"""From how many of the last runs the time left is told."""

_UNHAPPY: Final = frozenset(
    {SuggestionState.FAILED, SuggestionState.REJECTED, SuggestionState.EXPIRED, SuggestionState.ABANDONED}
)
_MOVING: Final = (SuggestionState.RUNNING, SuggestionState.SUBMITTED)


@dataclass(slots=True)
class AgentView:
    """One agent's suggestions, outcomes, history and log."""

    suggestions: dict[str, Suggestion] = field(default_factory=dict[str, Suggestion])
    open: dict[str, Suggestion] = field(default_factory=dict[str, Suggestion])
    measured: dict[str, Measured] = field(default_factory=dict[str, Measured])
    history: deque[Event] = field(default_factory=lambda: deque[Event](maxlen=MAX_LINES))
    log: deque[Event] = field(default_factory=lambda: deque[Event](maxlen=MAX_LINES))

    def look(self, suggestions: Iterable[Suggestion], history: Iterable[Event]) -> None:
        """Take the service's answers in: all suggestions, and the last facts, oldest first."""
        self.suggestions.clear()
        self.open.clear()
        self.measured.clear()
        self.history.clear()
        measured: list[tuple[datetime, str, Measured]] = []
        for suggestion in suggestions:
            self._keep(suggestion)
            if suggestion.outcome is not None:
                at = suggestion.updated_at
                measured.append((at, suggestion.id, Measured(at, suggestion.point, suggestion.outcome)))
        for event in history:
            self._remember(event)
            if _is_birth(event):  # what came before is of an agent that had this name; what this one was told follows
                measured = [entry for entry in measured if entry[1] in self.suggestions]
            measured += [(event.time, key, point) for key, point in _ingested(event)]
        for _, key, point in sorted(measured, key=lambda entry: entry[0]):
            self.measured.setdefault(key, point)

    def take(self, event: Event) -> None:
        """Take an event of this agent in."""
        if event.kind is EventKind.LOG:
            self.log.append(event)
        elif _is_birth(event):
            for known in (self.suggestions, self.open, self.measured):
                known.clear()
        elif event.kind is EventKind.SUGGESTION_STATE:
            self._take_fate(event)
        elif event.kind is EventKind.INGEST:
            for key, point in _ingested(event):
                self.measured.setdefault(key, point)
        self._remember(event)

    def _take_fate(self, event: Event) -> None:
        data: dict[str, Any] = event.data
        old = self.suggestions.get(data["id"])
        state = SuggestionState(data["state"])
        if old is None:
            if state is not SuggestionState.PROPOSED:
                return  # of an agent that had this name before
            self._keep(proposed(event))
        elif event.time > old.updated_at:
            known = {key: data[key] for key in ("run_uid", "outcome", "reason", "point") if key in data}
            new = old.model_copy(update={"state": state, "updated_at": event.time, **known})
            self._keep(new)
            if new.outcome is not None and state is SuggestionState.MEASURED:
                self.measured.setdefault(new.id, Measured(event.time, new.point, new.outcome))

    def _keep(self, suggestion: Suggestion) -> None:
        self.suggestions[suggestion.id] = suggestion
        if suggestion.state in (SuggestionState.PROPOSED, SuggestionState.APPROVED, *_MOVING):
            self.open[suggestion.id] = suggestion
        else:
            self.open.pop(suggestion.id, None)

    def _remember(self, event: Event) -> None:
        newer = not self.history or (event.seq or 0) > (self.history[-1].seq or 0)
        if event.seq is not None and newer and described(event) is not None:
            self.history.append(event)

    # what it shows ------------------------------------------------------------------------------------------------

    def progress(self, status: AgentStatus) -> dict[str, Any]:
        """Return runs done, the time left in seconds if it can be told, and what is being measured."""
        moving = [suggestion for state in _MOVING for suggestion in self._open_in(state)]
        done, total = status.progress.done, status.progress.total
        pace_s = self._pace_s()
        waiting = self._open_in(SuggestionState.PROPOSED)
        by_person = bool(waiting) and status.spec.loop.approval == "required" and not moving
        running = status.state is AgentState.RUNNING and not by_person  # nobody can tell when a person will look
        return {
            "done": done,
            "total": total,
            "left_s": round(pace_s * (total - done)) if running and total and pace_s is not None else None,
            "measuring": {"id": moving[0].id, "point": rounded(moving[0].point)} if moving else None,
            "waiting": len(waiting) if by_person else 0,
            "failed": status.counts.failed,
            "by_hand": status.counts.by_hand,
            "retold": status.counts.retold,
        }

    def _open_in(self, state: SuggestionState) -> list[Suggestion]:
        return [suggestion for suggestion in self.open.values() if suggestion.state is state]

    def _pace_s(self) -> float | None:
        times = [point.at.timestamp() for point in list(self.measured.values())[-_PACE_OF:]]
        steps = [after - before for before, after in pairwise(times)]
        return median(steps) if steps else None

    def inbox(self, limits: Mapping[str, Ends], refused: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the suggestions that wait for a person's word, oldest first. See `entry`."""
        waiting = self._open_in(SuggestionState.PROPOSED)
        return [entry(suggestion, limits, refused.get(suggestion.id, "")) for suggestion in waiting]

    def lines(self) -> dict[str, list[dict[str, Any]]]:
        """Return history and log as lines, newest first."""
        return {
            "history": [_line(event, str(event.kind), described(event)) for event in reversed(self.history)],
            "log": [
                _line(event, event.data.get("level", "info"), event.data.get("message", ""))
                for event in reversed(self.log)
            ],
        }


def proposed(event: Event) -> Suggestion:
    """Return the suggestion that a fact of its birth is about."""
    fields = {key: event.data[key] for key in ("id", "point", "plan", "retry_of") if key in event.data}
    moment = {"created_at": event.time, "updated_at": event.time, "state": SuggestionState.PROPOSED}
    return Suggestion.model_validate({**fields, **moment, "agent": event.agent or ""})


def entry(suggestion: Suggestion, limits: Mapping[str, Ends], refused: str = "") -> dict[str, Any]:
    """Return a proposed suggestion as a row of an inbox, with a note when there is something to say about it.

    ``limits`` are lowest and highest positions by actuator, in its units; ``refused`` says why the suggestion was not
    approved when somebody pressed the button last.
    """
    beyond = [
        f"{name} is {_beyond(ends)}"
        for name, ends in limits.items()
        if name in suggestion.point and not inside(suggestion.point[name], ends)
    ]
    outside = [refused] if refused else beyond
    retry = [f"again, for {suggestion.retry_of[:4]}…"] if suggestion.retry_of else []
    note = "; ".join([*outside, *retry, *([suggestion.reason] if suggestion.reason else [])])
    return {
        "id": suggestion.id,
        "agent": suggestion.agent,
        "point": suggestion.point,
        "note": note,
        "outside": bool(outside),
        "at": suggestion.created_at.timestamp(),
    }


def _line(event: Event, kind: object, text: object) -> dict[str, Any]:
    return {"at": event.time.timestamp(), "kind": kind, "text": text}


def _beyond(ends: Ends) -> str:
    low, high = ends
    if low is None or high is None:
        return f"above {brief(high)}" if low is None else f"below {brief(low)}"
    return f"outside {brief(low)} to {brief(high)}"


def summary(status: AgentStatus) -> dict[str, Any]:
    """Return what every panel shows of an agent."""
    shown = status.model_dump(include={"name", "reason", "type", "executor", "legal", "direction"})
    return {**shown, "state": str(status.state)}


def rounded(point: dict[str, float]) -> dict[str, float]:
    """Return a point with as many digits as a person reads."""
    return {name: float(f"{value:.6g}") for name, value in point.items()}


def _is_birth(event: Event) -> bool:
    """Whether a fact creates an agent."""
    return event.kind is EventKind.AGENT_STATE and "spec" in event.data


def _ingested(event: Event) -> list[tuple[str, Measured]]:
    if event.kind is not EventKind.INGEST:
        return []
    data: dict[str, Any] = event.data
    return [
        (str(point.get(ID_KEY) or f"{event.seq}:{i}"), Measured(event.time, numbers, numbers))
        for i, point in enumerate(data["points"])
        for numbers in [{key: value for key, value in point.items() if key != ID_KEY}]
    ]


# facts as lines for a person ------------------------------------------------------------------------------------------


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
