"""The best of what was measured: found by the service from the outcomes themselves, whatever a brain says of its own.

Which outcome counts and whether more of it is better follow from the agent's specification; where that does not say,
from which end of what was measured the brain's own best point lies at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from agent_service.models import ID_KEY, BestPoint

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from agent_service.models import AgentSpec, AgentStatus

Direction = Literal["maximize", "minimize"]


@dataclass(slots=True)
class Extremes:
    """By outcome, the measured point at which it was lowest and highest so far; of equals, the first."""

    lowest: dict[str, BestPoint] = field(default_factory=dict[str, BestPoint])
    highest: dict[str, BestPoint] = field(default_factory=dict[str, BestPoint])

    def add(self, measured: Mapping[str, Any], *, actuators: Collection[str]) -> None:
        """Take a measured point in: actuators and outcomes by name, and perhaps its suggestion's ``_id``."""
        outcome = {name: value for name, value in measured.items() if name not in actuators and _is_finite(value)}
        lowest = [
            key for key, value in outcome.items() if key not in self.lowest or value < self.lowest[key].outcome[key]
        ]
        highest = [
            key for key, value in outcome.items() if key not in self.highest or value > self.highest[key].outcome[key]
        ]
        if not (lowest or highest):
            return
        point = {name: measured[name] for name in actuators if name in measured}
        best_point = BestPoint(id=measured.get(ID_KEY) or None, point=point, outcome=outcome)
        self.lowest.update(dict.fromkeys(lowest, best_point))
        self.highest.update(dict.fromkeys(highest, best_point))

    def best(self, spec: AgentSpec, by_model: BestPoint | None) -> tuple[BestPoint | None, str | None, Direction]:
        """Return the best measured point, the outcome it is the best of, and in which direction.

        ``by_model`` is the brain's own best point, if it has one.
        """
        objective = self._objective(spec)
        direction = spec.direction or _configured(spec.config) or self._towards(objective, by_model)
        if objective is None:
            return None, None, direction
        ends = self.highest if direction == "maximize" else self.lowest
        return ends.get(objective), objective, direction

    def _objective(self, spec: AgentSpec) -> str | None:
        names = spec.outcomes or list(self.highest)
        configured = spec.config.get("objective")
        if isinstance(configured, str):  # in the words of the brain
            configured = next((own for own, word in spec.names.items() if word == configured), configured)
        if isinstance(configured, str) and configured in names:
            return configured
        return names[0] if names else None

    def _towards(self, objective: str | None, by_model: BestPoint | None) -> Direction:
        """Return which end of what was measured the brain's best point is nearer to."""
        if objective is None or by_model is None or objective not in by_model.outcome or objective not in self.highest:
            return "maximize"
        value = by_model.outcome[objective]
        above = self.highest[objective].outcome[objective] - value
        below = value - self.lowest[objective].outcome[objective]
        return "maximize" if above <= below else "minimize"


def best_text(status: AgentStatus, *, digits: int = 4) -> str:
    """Return the best that an agent has measured as a person reads it, ``highest flux 12.3``; empty if nothing was."""
    if status.best is None or status.objective is None:
        return ""
    names = [status.objective, *(name for name in status.best.outcome if name != status.objective)]
    values = ", ".join(f"{name} {status.best.outcome[name]:.{digits}g}" for name in names)
    return f"{extreme_word(status.direction)} {values}"


def extreme_word(direction: Direction) -> str:
    """Return which end of the values is the best one, in a word."""
    return "highest" if direction == "maximize" else "lowest"


def _configured(config: Mapping[str, Any]) -> Direction | None:
    for key, yes, no in (("maximize", "maximize", "minimize"), ("minimize", "minimize", "maximize")):
        if isinstance(config.get(key), bool):
            return yes if config[key] else no  # pyright: ignore[reportReturnType] - one of the two literals above
    return None


def _is_finite(value: object) -> bool:
    """Whether a journaled value is a number of JSON that can be compared."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
