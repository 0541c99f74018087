"""What the demo has seen of the loop so far, folded from the service's events. Does no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.models import EventKind
from agent_service.models.state_machines import AgentState, SuggestionState

if TYPE_CHECKING:
    from agent_service.models import Event

_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = "_.-=+*#@"


@dataclass(slots=True)
class Trace:
    """The loop of ``total`` runs as its events tell it; actuators are shown in their order."""

    actuators: tuple[str, ...]
    outcome: str
    total: int
    values: list[float] = field(default_factory=list[float])
    last: dict[str, float] = field(default_factory=dict[str, float])
    best: dict[str, float] = field(default_factory=dict[str, float])
    by_model: dict[str, float] = field(default_factory=dict[str, float])
    failures: int = 0
    last_failure: str | None = None
    state: AgentState = AgentState.CREATED
    reason: str | None = None

    @property
    def done(self) -> int:
        """Runs measured and ingested so far."""
        return len(self.values)

    @property
    def ended(self) -> bool:
        """Whether the loop has come to its end, good or bad."""
        return self.state in (AgentState.STOPPED, AgentState.FAILED)

    def on_event(self, event: Event) -> bool:
        """Take an event in; return whether it changed what there is to show."""
        if event.kind is EventKind.INGEST:
            self._ingest(cast("dict[str, list[dict[str, Any]]]", event.data))
        elif event.kind is EventKind.AGENT_STATE:
            self.state = AgentState(str(event.data["state"]))
            reason = event.data.get("reason")
            self.reason = None if reason is None else str(reason)
        elif event.kind is EventKind.SUGGESTION_STATE and event.data.get("state") == SuggestionState.FAILED:
            self.failures += 1
            self.last_failure = str(event.data.get("reason") or "unknown")
        else:
            return False
        return True

    def _ingest(self, fact: dict[str, list[dict[str, Any]]]) -> None:
        for point in fact["points"]:
            self.last = {name: float(point[name]) for name in (*self.actuators, self.outcome)}
            self.values.append(self.last[self.outcome])
            if not self.best or self.last[self.outcome] > self.best[self.outcome]:
                self.best = self.last
        if fact["best"]:
            # what the agent takes for the best: with noise that need not be the highest value measured
            best = fact["best"][0]
            self.by_model = {**best["point"], self.outcome: float(best["outcome"][self.outcome])}

    def text(self, point: dict[str, float]) -> str:
        """Return a point as a person reads it: the outcome, and where."""
        if not point:
            return "-"
        where = ", ".join(f"{name} {point[name]:+.3f}" for name in self.actuators)
        return f"{self.outcome} {point[self.outcome]:.4g} at {where}"

    def sparkline(self, width: int, *, ascii_only: bool = False) -> str:
        """Return the outcomes of the last ``width`` runs as one line of bars, from the lowest to the highest seen."""
        shown = self.values[-width:] if width > 0 else []
        if not shown:
            return ""
        bars = _ASCII_BARS if ascii_only else _BARS
        low, high = min(self.values), max(self.values)
        scale = (len(bars) - 1) / (high - low) if high > low else 0.0
        return "".join(bars[round((value - low) * scale)] for value in shown)
