"""BayBE: a campaign that recommends experiments, and knows which ones wait."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from agent_service.brains.adapters.frames import Frames, labels, steps, varied
from agent_service.brains.adapters.library_type import LibraryType, library
from agent_service.brains.adapters.problem import Problem
from agent_service.brains.adapters.told import ToldBrain
from agent_service.models.spaces import FloatRange, IntRange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.models import AgentSpec, Point
    from agent_service.models.spaces import Dimension


class Baybe(LibraryType, package="baybe", several=True):
    """Recommends by BayBE's Bayesian optimization, in mixed spaces and for one outcome or several.

    Needs ``pip install bluesky-agent-service[baybe]``.
    """

    preload: ClassVar[tuple[str, ...]] = ("baybe", "botorch")  # which it imports when it fits its first model

    @classmethod
    def listed(cls, problem: Problem) -> int:
        """Return how many combinations there are."""
        return math.prod(problem.sizes)

    def brain(self, spec: AgentSpec) -> CampaignBrain:
        """Return the brain."""
        problem, objectives = self.problem(spec), library("baybe.objectives")
        target, space = library("baybe.targets").NumericalTarget, library("baybe.searchspace").SearchSpace
        targets: list[Any] = [
            target(name, minimize=direction == "minimize") for name, direction in problem.objectives.items()
        ]
        objective: Any = (
            objectives.SingleTargetObjective(targets[0]) if len(targets) == 1 else objectives.ParetoObjective(targets)
        )
        searched: Any = space.from_product([_parameter(name, dimension) for name, dimension in varied(problem).items()])
        return CampaignBrain(library("baybe").Campaign(searched, objective), problem, seed=self.config.seed)


def adapted(campaign: Any, spec: AgentSpec) -> CampaignBrain:
    """Return the brain of a campaign that somebody made; its targets are the agent's outcomes of their names."""
    directions = {target.name: "minimize" if target.minimize else "maximize" for target in campaign.objective.targets}
    problem = Problem.towards(Problem.of(spec).space, directions, spec)  # pyright: ignore[reportArgumentType]
    return CampaignBrain(campaign, problem, seed=0, ours=False)


class CampaignBrain(ToldBrain):
    """Asks and tells a campaign."""

    def __init__(self, campaign: Any, problem: Problem, *, seed: int, ours: bool = True) -> None:
        super().__init__(problem)
        self._campaign = campaign
        self._frames = Frames(problem, ours=ours)
        self._seed = seed

    def _ask(self, number: int) -> list[Point]:
        temporary_seed = library("baybe.utils.random").temporary_seed

        waiting = self._frames.of(list(self.pending.values())) if self.pending and self.rows else None
        with temporary_seed(self._seed + self._issued):
            return self._frames.points(self._campaign.recommend(batch_size=number, pending_experiments=waiting))

    def _tell(self, rows: Sequence[tuple[int | None, Mapping[str, Any]]]) -> None:
        self._campaign.add_measurements(self._frames.of([row for _, row in rows], outcomes=self.problem.objectives))


def _parameter(name: str, dimension: Dimension) -> Any:
    parameters = library("baybe.parameters")

    if isinstance(dimension, FloatRange):
        return parameters.NumericalContinuousParameter(name, (dimension.low, dimension.high))
    if isinstance(dimension, IntRange):
        return parameters.NumericalDiscreteParameter(name, steps(dimension))
    return parameters.CategoricalParameter(name, list(labels(dimension)))
