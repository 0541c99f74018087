"""What a library of optimizers is asked to solve: dimensions, objectives, and points as they are in there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

from agent_service.models.objectives import Goals, Objective
from agent_service.models.spaces import Choice, FloatRange, IntRange, Truth, fitted
from agent_service.models.values import same

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent_service.models import AgentSpec, Point
    from agent_service.models.objectives import Direction, Limit
    from agent_service.models.spaces import Dimension


@dataclass(frozen=True)
class Problem:
    """What to vary and what to look at, by the brain's names; ``space`` has a dimension for each actuator.

    ``objectives`` are what a library is to make high or low: outcomes, or numbers that `values` makes of them where
    ``goals`` has weights or targets. ``observables`` are outcomes that are only recorded.
    """

    space: Mapping[str, Dimension]
    objectives: Mapping[str, Direction]
    goals: Goals = field(default=Goals({}, {}))
    observables: tuple[str, ...] = ()

    @classmethod
    def towards(cls, space: Mapping[str, Dimension], directions: Mapping[str, Direction], spec: AgentSpec) -> Self:
        """Return the problem of a library's object that says its directions itself."""
        objectives = {name: Objective(direction=direction) for name, direction in directions.items()}
        return cls(space, directions, Goals(objectives, spec.outcome_constraints))

    @classmethod
    def of(cls, spec: AgentSpec, objectives: Mapping[str, Direction] | None = None) -> Self:
        """Return the problem of an agent; raise `ValueError` when it says too little of where or what to look for.

        ``objectives`` are those of the brain's configuration, which came before those of the specification. Without
        either they are the agent's outcomes, all in its direction, but for those that are constrained or observed.
        """
        space = {name: _dimension(name, spec) for name in spec.actuators}
        others = {*spec.outcome_constraints, *spec.observables}
        direction: Direction = spec.direction or "maximize"
        short: dict[str, Direction] = {name: direction for name in spec.outcomes if name not in others}
        if objectives and spec.objectives:
            raise ValueError("config.objectives says again what objectives of the agent says; leave it out")
        directions: Mapping[str, Direction] = objectives or short
        if not (directions or spec.objectives):
            raise ValueError("objectives is needed: which of what evaluate returns is to be made high or low?")
        if spec.outcomes and (foreign := [name for name in directions if name not in spec.outcomes]):
            raise ValueError(f"config.objectives names {', '.join(foreign)}, which is no outcome of this agent")
        written = spec.objectives or {name: Objective(direction=way) for name, way in directions.items()}
        goals = Goals(written, spec.outcome_constraints)
        return cls(space, goals.columns, goals, tuple(spec.observables))

    @property
    def constraints(self) -> Mapping[str, Limit]:
        """What outcomes have to be."""
        return self.goals.limits

    @property
    def names(self) -> list[str]:
        """The actuators, in their order."""
        return list(self.space)

    def values(self, point: Mapping[str, Any]) -> list[float]:
        """Return the objectives of a point that was measured; raise `ValueError` when one is missing."""
        point = {**point, **self.goals.derived(point)}
        if missing := [name for name in self.objectives if name not in point]:
            raise ValueError(f"a point lacks {', '.join(missing)}; the objectives are {', '.join(self.objectives)}")
        return [float(point[name]) for name in self.objectives]

    def costs(self, point: Mapping[str, Any]) -> list[float]:
        """Return the objectives of a point as numbers to be made small."""
        signs = [-1.0 if direction == "maximize" else 1.0 for direction in self.objectives.values()]
        return [sign * value for sign, value in zip(signs, self.values(point), strict=True)]

    def beliefs(self, values: Iterable[float], spreads: Iterable[float]) -> list[dict[str, tuple[float, float]]]:
        """Return mean and standard deviation of the first objective, from numbers that are large where it is good."""
        name, direction = next(iter(self.objectives.items()))
        sign = 1.0 if direction == "maximize" else -1.0
        return [{name: (sign * float(value), float(spread))} for value, spread in zip(values, spreads, strict=True)]

    def position(self, point: Mapping[str, Any]) -> Point | None:
        """Return the actuators' part of a point as the space has it; None when it is no point of the space."""
        position, wrong = fitted(point, self.names, self.space)
        return None if wrong else position

    def unit(self, point: Mapping[str, Any]) -> list[float]:
        """Return a point of the space as numbers from 0 to 1: one a range, one a value of a choice without order."""
        return [number for name, dimension in self.space.items() for number in _numbers(dimension, point[name])]

    @property
    def sizes(self) -> list[int]:
        """How many values each dimension has that is no range of floats."""
        kinds = [dimension for dimension in self.space.values() if not isinstance(dimension, FloatRange)]
        return [
            cast("int", dimension.high) - cast("int", dimension.low) + 1
            if isinstance(dimension, IntRange)
            else len(_choices(dimension))
            for dimension in kinds
        ]

    @property
    def width(self) -> int:
        """How many numbers `unit` returns."""
        return sum(_width(dimension) for dimension in self.space.values())

    def point(self, unit: Sequence[float]) -> Point:
        """Return the point of the space that is nearest to numbers from 0 to 1, as `unit` returns them."""
        numbers = iter(unit)
        return {
            name: _nearest(dimension, [next(numbers) for _ in range(_width(dimension))])
            for name, dimension in self.space.items()
        }


def _dimension(name: str, spec: AgentSpec) -> Dimension:
    dimension = spec.space.get(name)
    low, high = spec.guardrails.bounds.get(name, (None, None))
    if dimension is None and low is not None and high is not None:
        dimension = FloatRange(low=low, high=high)
    open_range = isinstance(dimension, FloatRange | IntRange) and None in (dimension.low, dimension.high)
    if dimension is None or open_range or not isinstance(dimension, FloatRange | IntRange | Choice | Truth):
        raise ValueError(f"space.{name} is needed, with an end on both sides: where is {name} to be looked for?")
    if dimension.may_lack:
        raise ValueError(f"space.{name} may be left out of a point, which {spec.type} cannot do")
    return dimension


def _choices(dimension: Dimension) -> list[Any]:
    return (
        [False, True]
        if isinstance(dimension, Truth)
        else list(dimension.values)
        if isinstance(dimension, Choice)
        else []
    )


def _is_line(dimension: Dimension) -> bool:
    """Whether one number says where on it a value is."""
    return not isinstance(dimension, Choice) or dimension.ordered or len(dimension.values) <= 2  # noqa: PLR2004 - two have no other order


def _width(dimension: Dimension) -> int:
    return 1 if _is_line(dimension) else len(_choices(dimension))


def _numbers(dimension: Dimension, value: Any) -> list[float]:
    if isinstance(dimension, FloatRange | IntRange):
        assert dimension.low is not None and dimension.high is not None  # noqa: S101, PT018 - `of` saw to that
        return [(value - dimension.low) / (dimension.high - dimension.low) if dimension.high > dimension.low else 0.5]
    choices = _choices(dimension)
    place = next(number for number, choice in enumerate(choices) if same(choice, value))  # 1 and true are two
    if _is_line(dimension):
        return [place / max(len(choices) - 1, 1)]
    return [float(other == place) for other in range(len(choices))]


def _nearest(dimension: Dimension, numbers: Sequence[float]) -> Any:
    part = min(max(float(numbers[0]), 0.0), 1.0)
    if isinstance(dimension, FloatRange | IntRange):
        assert dimension.low is not None and dimension.high is not None  # noqa: S101, PT018 - as above
        value = dimension.low + part * (dimension.high - dimension.low)
        inside = min(max(round(value) if isinstance(dimension, IntRange) else value, dimension.low), dimension.high)
        return inside if isinstance(dimension, IntRange) else float(inside)
    choices = _choices(dimension)
    if _is_line(dimension):
        return choices[round(part * (len(choices) - 1))]
    return choices[max(range(len(choices)), key=lambda place: numbers[place])]
