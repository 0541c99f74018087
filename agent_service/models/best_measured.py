"""The best that was measured: the service finds it from the outcomes, whatever a brain says of its own.

If there are objectives, they say what is better, and a point that breaks a constraint is never the best. If there are
none, the agent's specification says which outcome counts and whether more of it is better. If that does not say, the
end of the measured values that is nearer to the brain's own best point is better.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent_service.errors import texts
from agent_service.models import ID_KEY, BestPoint
from agent_service.models.objectives import Goals
from agent_service.models.real_numbers import real
from agent_service.models.standard_errors import sems_of
from agent_service.models.values import is_number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from agent_service.models import AgentSpec, AgentStatus
    from agent_service.models.objectives import Direction


@dataclass(frozen=True, slots=True)
class Best:
    """The best measured point, its outcome and direction, and all of that as a status says it."""

    point: BestPoint | None
    objective: str | None
    direction: Direction
    words: str
    front: tuple[BestPoint, ...] = ()
    none: str | None = None


@dataclass(slots=True)
class Extremes:
    """By outcome, the measured points where it was lowest and highest so far; of equals, the first."""

    lowest: dict[str, BestPoint] = field(default_factory=dict[str, BestPoint])
    highest: dict[str, BestPoint] = field(default_factory=dict[str, BestPoint])

    def add(self, measured: Mapping[str, Any], *, actuators: Collection[str]) -> None:
        """Add a measured point: actuators and outcomes by name, and perhaps its suggestion's ``_id``."""
        outcome = _outcome_of(measured, actuators)
        lowest = [
            key for key, value in outcome.items() if key not in self.lowest or value < self.lowest[key].outcome[key]
        ]
        highest = [
            key for key, value in outcome.items() if key not in self.highest or value > self.highest[key].outcome[key]
        ]
        if not (lowest or highest):
            return
        best_point = _point_of(measured, outcome, actuators)
        self.lowest.update(dict.fromkeys(lowest, best_point))
        self.highest.update(dict.fromkeys(highest, best_point))

    def as_json(self) -> list[dict[str, Any]]:
        """Return the points by end, and by outcome which of them: many outcomes share one point."""
        ends: list[dict[str, Any]] = []
        for end in (self.lowest, self.highest):
            points = list({id(point): point for point in end.values()}.values())
            numbers = {id(point): i for i, point in enumerate(points)}
            by = {name: numbers[id(point)] for name, point in end.items()}
            ends.append({"points": [point.model_dump(mode="json") for point in points], "by": by})
        return ends

    @classmethod
    def from_json(cls, data: Sequence[Mapping[str, Any]]) -> Extremes:
        """Return the extremes from the JSON of `as_json`."""
        ends: list[dict[str, BestPoint]] = []
        for end in data:
            points = [BestPoint.model_validate(point) for point in end["points"]]
            by: Mapping[str, int] = end["by"]
            ends.append({name: points[i] for name, i in by.items()})
        return cls(*ends)

    def best(self, spec: AgentSpec, by_model: BestPoint | None) -> Best:
        """Return the best measured point; ``by_model`` is the brain's own, if it has one."""
        objective = self._objective(spec)
        direction = spec.direction or _configured(spec.config) or self._towards(objective, by_model)
        ends = self.highest if direction == "maximize" else self.lowest
        point = None if objective is None else ends.get(objective)
        return Best(point, objective, direction, extreme_word(direction), () if point is None else (point,))

    def _objective(self, spec: AgentSpec) -> str | None:
        names = spec.outcomes or list(self.highest)
        configured = spec.config.get("objective")
        if isinstance(configured, str):  # in the words of the brain
            configured = next((own for own, word in spec.names.items() if word == configured), configured)
        if isinstance(configured, str) and configured in names:
            return configured
        return names[0] if names else None

    def _towards(self, objective: str | None, by_model: BestPoint | None) -> Direction:
        """Return the end of the measured values that is nearer to the brain's best point."""
        if objective is None or by_model is None or objective not in by_model.outcome or objective not in self.highest:
            return "maximize"
        value = by_model.outcome[objective]
        above = self.highest[objective].outcome[objective] - value
        below = value - self.lowest[objective].outcome[objective]
        return "maximize" if above <= below else "minimize"


class Front:
    """The feasible measured points that no other beats; of equals, the first.

    A point beats another if it is better in one objective and worse in none. To add a point costs one pass over the
    front, in numpy; for one objective, a comparison.
    """

    def __init__(self, goals: Goals) -> None:
        self.goals = goals
        self.points: list[BestPoint] = []
        self._scores: Any = []
        self._measured = 0

    def add(self, measured: Mapping[str, Any], *, actuators: Collection[str]) -> None:
        """Add a measured point, as `Extremes.add`."""
        outcome = _outcome_of(measured, actuators)
        self._measured += 1
        scores = self.goals.scores(outcome)
        if scores is None or not self.goals.feasible(outcome):
            return
        if len(scores) == 1:
            if not self.points or scores > self._scores[0]:
                self.points, self._scores = [_point_of(measured, outcome, actuators)], [scores]
            return
        import numpy as np  # noqa: PLC0415 - the service starts without numpy

        known = np.asarray(self._scores, dtype=float).reshape(-1, len(scores))
        if (known >= scores).all(axis=1).any():
            return
        kept = np.flatnonzero(~(known <= scores).all(axis=1))
        if len(kept) < len(known):
            self.points, known = [self.points[int(i)] for i in kept], known[kept]
        self.points.append(_point_of(measured, outcome, actuators))
        self._scores = np.vstack([known, scores])

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        points = [point.model_dump(mode="json") for point in self.points]
        return {"points": points, "measured": self._measured}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Restore the result of `as_json` for the same goals."""
        self.points = [BestPoint.model_validate(point) for point in data["points"]]
        self._measured = data["measured"]
        self._scores = [self.goals.scores(point.outcome) for point in self.points]

    def best(self) -> Best:
        """Return the best point; of a front, the best in the first objective."""
        objective, way = next(iter(self.goals.objectives.items()))
        direction = way.direction or "maximize"
        several = len(self.goals.objectives) > 1 and not self.goals.weighted
        words = extreme_word(direction) if way.target is None else f"closest to {way.target:g}:"
        if self.goals.weighted:
            words = "best by weights:"
        elif several:
            words = f"of {texts.counted(len(self.points), 'point')} on the front, {words}"
        if self.points:
            first = max(range(len(self.points)), key=lambda i: float(self._scores[i][0])) if several else 0
            return Best(self.points[first], objective, direction, words, tuple(self.points))
        none = f"none of {texts.counted(self._measured, 'measured point')} meets outcome_constraints"
        return Best(None, objective, direction, words, none=none if self._measured and self.goals.limits else None)


class Bests:
    """The best that one agent measured: by its objectives, or by outcome if it has none."""

    def __init__(self) -> None:
        self._extremes = Extremes()
        self._front: Front | None = None
        self._actuators: Collection[str] = ()
        self.with_sem: dict[str, None] = {}  # the outcomes of which a standard error was known, in their order

    def begin(self, spec: AgentSpec) -> None:
        """Forget all points, and use the present objectives."""
        self._extremes, self._actuators = Extremes(), spec.actuators
        self._front = Front(Goals.of(spec)) if spec.objectives else None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        front = None if self._front is None else self._front.as_json()
        return {"extremes": self._extremes.as_json(), "front": front, "with_sem": list(self.with_sem)}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Restore the result of `as_json`, if it was for the same specification."""
        self._extremes = Extremes.from_json(data["extremes"])
        self.with_sem = dict.fromkeys(data["with_sem"])
        if self._front is not None:
            self._front.restore(data["front"])

    def add(self, points: Iterable[Mapping[str, Any]]) -> None:
        """Add measured points."""
        for point in points:
            self.with_sem |= dict.fromkeys(sems_of(point))
            self._extremes.add(point, actuators=self._actuators)
            if self._front is not None:
                self._front.add(point, actuators=self._actuators)

    @property
    def outcomes(self) -> list[str]:
        """Names of the outcomes that were measured."""
        return list(self._extremes.highest)

    def best(self, spec: AgentSpec, by_model: BestPoint | None) -> Best:
        """Return the best that was measured; ``by_model`` is the brain's own best point, if it has one."""
        return self._extremes.best(spec, by_model) if self._front is None else self._front.best()


def best_text(status: AgentStatus, *, digits: int = 4) -> str:
    """Return the best that an agent has measured as text, ``highest flux 12.3``; empty if there is none."""
    if status.best is None or status.objective is None:
        return ""
    names = [status.objective, *(name for name in status.best.outcome if name != status.objective)]
    values = ", ".join(f"{name} {status.best.outcome[name]:.{digits}g}" for name in names)
    return f"{status.best_of or extreme_word(status.direction)} {values}"


def extreme_word(direction: Direction) -> str:
    """Return the word for the best end of the values."""
    return "highest" if direction == "maximize" else "lowest"


def _configured(config: Mapping[str, Any]) -> Direction | None:
    for key, yes, no in (("maximize", "maximize", "minimize"), ("minimize", "minimize", "maximize")):
        if isinstance(config.get(key), bool):
            return yes if config[key] else no  # pyright: ignore[reportReturnType] - one of the two literals above
    return None


def _outcome_of(measured: Mapping[str, Any], actuators: Collection[str]) -> dict[str, float]:
    """Return the outcomes of a journaled point that are comparable JSON numbers."""
    return {
        name: value
        for name, value in measured.items()
        if name not in actuators and is_number(value) and real(value) is not None
    }


def _point_of(measured: Mapping[str, Any], outcome: dict[str, float], actuators: Collection[str]) -> BestPoint:
    point = {name: measured[name] for name in actuators if name in measured}
    return BestPoint(id=measured.get(ID_KEY) or None, point=point, outcome=outcome, sem=sems_of(measured))
