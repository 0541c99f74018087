"""CMA-ES, by the package ``cma``: generations of points, each told as a whole; a type, and any such object as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from agent_service.brains.adapters.library_type import LibraryType, Search, library
from agent_service.brains.adapters.problem import Problem
from agent_service.brains.adapters.told import ToldBrain
from agent_service.brains.not_now import NotNow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import AgentSpec, Point


class _Config(Search):
    """Configuration of `Cma`."""

    sigma: float = Field(default=0.25, gt=0, le=1, description="first step, as a part of each range")
    popsize: int | None = Field(default=None, ge=3, le=1000, description="points of a generation; null: as cma has it")


class Cma(LibraryType, package="cma"):
    """Goes downhill in generations, each from the better half of the one before; for noise and many actuators.

    For ranges and for one outcome; it may have a generation of points under way, and waits for the outcomes of all of
    them. Takes the fields of `Config`; needs ``pip install bluesky-agent-service[cma]``.
    """

    Config = _Config

    def brain(self, spec: AgentSpec) -> CmaBrain:
        """Return the brain."""
        problem, config = self.problem(spec), self.config
        options = {"bounds": [0, 1], "verbose": -9, "seed": config.seed + 1}  # 0 is the clock's
        if config.popsize is not None:
            options["popsize"] = config.popsize
        strategy: Any = library("cma").CMAEvolutionStrategy([0.5] * problem.width, config.sigma, options)
        return CmaBrain(strategy, problem, problem.point, problem.unit)


def adapted(strategy: Any, spec: AgentSpec) -> CmaBrain:
    """Return the brain of a ``CMAEvolutionStrategy`` that somebody made; its coordinates are the actuators."""
    problem = Problem.of(spec)
    names = problem.names
    return CmaBrain(
        strategy,
        problem,
        lambda x: {name: float(value) for name, value in zip(names, x, strict=True)},
        lambda point: [float(point[name]) for name in names],
    )


class CmaBrain(ToldBrain):
    """Asks and tells a strategy. A point that failed, or that somebody changed, is replaced within its generation.

    What others measured is known here and not told: it is of no generation.
    """

    def __init__(
        self,
        strategy: Any,
        problem: Problem,
        point: Callable[[Any], Point],
        coordinates: Callable[[Mapping[str, Any]], list[float]],
    ) -> None:
        super().__init__(problem)
        self.most_pending = strategy.popsize
        self._strategy = strategy
        self._point, self._coordinates = point, coordinates
        self._asked: list[Any] = strategy.ask()  # and not suggested yet
        self._under_way: set[int] = set()
        self._done: list[tuple[list[float], float]] = []

    def _ask(self, number: int) -> list[Point]:
        if not self._asked:
            raise NotNow(f"CMA-ES needs the outcomes of {len(self._under_way)} points of this generation")
        asked, self._asked = self._asked[:number], self._asked[number:]
        self._under_way |= set(range(self._issued, self._issued + len(asked)))
        return [self._point(x) for x in asked]

    def _adopt(self, number: int, point: Mapping[str, Any]) -> None:
        self._under_way.add(number)
        self._asked = self._asked[1:]

    def _give_up(self, numbers: Sequence[int]) -> None:
        lost = len(self._under_way.intersection(numbers))
        self._under_way.difference_update(numbers)
        self._asked += self._strategy.ask(lost) if lost else []

    def _tell(self, rows: Sequence[tuple[int | None, Mapping[str, Any]]]) -> None:
        for number, row in rows:
            if number in self._under_way:
                self._under_way.discard(number)
                self._done.append((self._coordinates(row), self.problem.costs(row)[0]))
        if self._done and not self._asked and not self._under_way:
            self._strategy.tell([x for x, _ in self._done], [cost for _, cost in self._done])
            self._done, self._asked = [], self._strategy.ask()
