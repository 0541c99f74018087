"""BoFire: a strategy over a domain, told tables, which knows which candidates wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from agent_service.brains.adapters.frames import Frames, labels, steps, varied
from agent_service.brains.adapters.library_type import LibraryType, Search, library
from agent_service.brains.adapters.told import ToldBrain
from agent_service.models.spaces import FloatRange, IntRange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.brains.adapters.problem import Problem
    from agent_service.models import AgentSpec, Point
    from agent_service.models.spaces import Dimension


class _Config(Search):
    """Configuration of `Bofire`."""

    n_initial: int = Field(default=5, ge=2, le=1000, description="points that are drawn before there is a model")


class Bofire(LibraryType, package="bofire", several=True):
    """Suggests by BoFire's strategies: one outcome by SOBO, several by MOBO, in mixed spaces.

    Takes the fields of `Config`; needs ``pip install bluesky-agent-service[bofire]``.
    """

    preload: ClassVar[tuple[str, ...]] = ("bofire.data_models.strategies.api", "bofire.strategies.api")

    Config = _Config

    @classmethod
    def listed(cls, problem: Problem) -> int:
        """Return how many values there are of one actuator at most."""
        return max(problem.sizes, default=0)

    def brain(self, spec: AgentSpec) -> BofireBrain:
        """Return the brain."""
        domains = library("bofire.data_models.domain.api")
        features = library("bofire.data_models.features.api")
        objectives = library("bofire.data_models.objectives.api")
        models = library("bofire.data_models.strategies.api")
        strategies = library("bofire.strategies.api")

        problem, config = self.problem(spec), self.config
        goals: dict[str, Any] = {"maximize": objectives.MaximizeObjective, "minimize": objectives.MinimizeObjective}
        domain: Any = domains.Domain(
            inputs=domains.Inputs(
                features=[_feature(features, name, dimension) for name, dimension in varied(problem).items()]
            ),
            outputs=domains.Outputs(
                features=[
                    features.ContinuousOutput(key=name, objective=goals[direction](w=1.0))
                    for name, direction in problem.objectives.items()
                ]
            ),
        )
        kind: Any = models.SoboStrategy if len(problem.objectives) == 1 else models.MoboStrategy
        drawing: Any = strategies.map(models.RandomStrategy(domain=domain, seed=config.seed))
        strategy: Any = strategies.map(kind(domain=domain, seed=config.seed))
        return BofireBrain(strategy, problem, drawing=drawing, n_initial=config.n_initial)


class BofireBrain(ToldBrain):
    """Asks and tells a strategy; ``drawing`` draws its first points."""

    def __init__(self, strategy: Any, problem: Problem, *, drawing: Any, n_initial: int) -> None:
        super().__init__(problem)
        self._strategy, self._drawing = strategy, drawing
        self._n_initial = n_initial
        self._frames = Frames(problem)
        self._n_learned = 0

    def _ask(self, number: int) -> list[Point]:
        if len(self.rows) < self._n_initial:
            return self._frames.points(self._drawing.ask(number))
        self._learn()
        self._strategy.reset_candidates()
        if self.pending:
            self._strategy.set_candidates(self._frames.of(list(self.pending.values())))
        return self._frames.points(self._strategy.ask(number))

    def _tell(self, rows: Sequence[tuple[int | None, Mapping[str, Any]]]) -> None:
        """Nothing: a model is fitted with each telling, so not before it is asked."""

    def _learn(self) -> None:
        if self._n_learned != len(self.rows):
            self._n_learned = len(self.rows)
            table = self._frames.of(self.rows, outcomes=self.problem.objectives)
            for name in self.problem.objectives:
                table[f"valid_{name}"] = 1
            self._strategy.tell(table, replace=True)


def _feature(features: Any, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, FloatRange):
        return features.ContinuousInput(key=name, bounds=[dimension.low, dimension.high])
    if isinstance(dimension, IntRange):
        return features.DiscreteInput(key=name, values=list(steps(dimension)))
    return features.CategoricalInput(key=name, categories=list(labels(dimension)))
