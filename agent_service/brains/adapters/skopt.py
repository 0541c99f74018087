"""scikit-optimize: an ``Optimizer``, asked and told; a type of its own, and any such object as it is."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from agent_service.brains.adapters.frames import labels
from agent_service.brains.adapters.library_type import LibraryType, Search, library
from agent_service.brains.adapters.problem import Problem
from agent_service.brains.adapters.told import ToldBrain
from agent_service.models.spaces import Choice, FloatRange, IntRange, Truth
from agent_service.models.values import same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.models import AgentSpec, Point, Value
    from agent_service.models.spaces import Dimension


class _Config(Search):
    """Configuration of `Skopt`."""

    estimator: Literal["GP", "RF", "ET", "GBRT"] = Field(
        default="GP", description="its model: a Gaussian process, a random forest, extra trees, boosted trees"
    )
    n_initial: int = Field(default=8, ge=1, le=1000, description="points that are drawn before it has a model")


class Skopt(LibraryType, package="skopt"):
    """Minimizes with one of scikit-optimize's models, in mixed spaces and for one outcome.

    Takes the fields of `Config`; needs ``pip install bluesky-agent-service[skopt]``.
    """

    Config = _Config

    def brain(self, spec: AgentSpec) -> SkoptBrain:
        """Return the brain."""
        problem, config = self.problem(spec), self.config
        optimizer: Any = library("skopt").Optimizer(
            [_dimension(dimension) for dimension in problem.space.values()],
            base_estimator=config.estimator,
            n_initial_points=config.n_initial,
            random_state=config.seed,
        )
        return SkoptBrain(
            optimizer, problem, labels={name: labels(dimension) for name, dimension in problem.space.items()}
        )


def adapted(optimizer: Any, spec: AgentSpec) -> SkoptBrain:
    """Return the brain of an ``Optimizer`` that somebody made; its dimensions are the actuators, in their order."""
    space = dict(zip(spec.actuators, map(_space_of, optimizer.space.dimensions), strict=True))
    return SkoptBrain(optimizer, Problem.of(spec.model_copy(update={"space": {**space, **spec.space}})))


class SkoptBrain(ToldBrain):
    """Asks and tells an ``Optimizer``; points that wait are taken for as good as the mean, in a copy of it.

    ``labels`` are the texts that stand for the values of a choice in there, where they do: it takes 1, true and "1" for
    one category.
    """

    def __init__(
        self, optimizer: Any, problem: Problem, *, labels: Mapping[str, Mapping[str, Value]] = MappingProxyType({})
    ) -> None:
        super().__init__(problem)
        self._optimizer = optimizer
        self._labels = dict(labels)
        self._untold: list[Mapping[str, Any]] = []  # a model is fitted with each telling, so not before it is asked

    def _ask(self, number: int) -> list[Point]:
        if self._untold:
            untold, self._untold = self._untold, []
            self._optimizer.tell([self._coordinates(row) for row in untold], [self._cost(row) for row in untold])
        points: list[Point] = []
        for _ in range(number):
            waiting = [self._coordinates(point) for point in (*self.pending.values(), *points)]
            points.append(self._point(self._next(waiting)))
        return points

    def _next(self, waiting: list[list[Any]]) -> list[Any]:
        costs = [float(cost) for cost in self._optimizer.yi]
        if not waiting or not costs or not self._optimizer.models:
            return list(self._optimizer.ask())
        liar = self._optimizer.copy(random_state=self._optimizer.rng)
        liar.tell(waiting, [sum(costs) / len(costs)] * len(waiting))
        return list(liar.ask())

    def _tell(self, rows: Sequence[tuple[int | None, Mapping[str, Any]]]) -> None:
        self._untold += [row for _, row in rows]

    def _cost(self, row: Mapping[str, Any]) -> float:
        return self.problem.costs(row)[0]

    def _coordinates(self, point: Mapping[str, Any]) -> list[Any]:
        return [self._coordinate(name, point[name]) for name in self.problem.names]

    def _coordinate(self, name: str, value: Value) -> Value:
        known = self._labels.get(name)
        return next(label for label, known_value in known.items() if same(known_value, value)) if known else value

    def _point(self, coordinates: Sequence[Any]) -> Point:
        known = {name: self._labels.get(name) for name in self.problem.names}
        return {
            name: values[value] if values else value
            for (name, values), value in zip(known.items(), coordinates, strict=True)
        }


def _dimension(dimension: Dimension) -> Any:

    match dimension:
        case FloatRange():
            return library("skopt.space").Real(dimension.low, dimension.high)
        case IntRange():
            return library("skopt.space").Integer(dimension.low, dimension.high)
        case _:
            return library("skopt.space").Categorical(list(labels(dimension)))


def _space_of(dimension: Any) -> Dimension:
    """Return a dimension of scikit-optimize's as ours."""
    kind = type(dimension).__name__
    if kind == "Integer":
        return IntRange(type="int", low=int(dimension.low), high=int(dimension.high))
    if kind == "Real":
        return FloatRange(low=float(dimension.low), high=float(dimension.high))
    values = list(dimension.categories)
    return (
        Truth(type="bool") if sorted(map(repr, values)) == ["False", "True"] else Choice(type="choice", values=values)
    )
