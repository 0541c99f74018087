"""gpCAM: a Gaussian process whose acquisition function says where to measure next."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from agent_service.brains.adapters.library_type import LibraryType, Search, library
from agent_service.brains.adapters.told import ToldBrain
from agent_service.models.standard_errors import SEM_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.brains.adapters.problem import Problem
    from agent_service.models import AgentSpec, Point


class _Config(Search):
    """Configuration of `GpCam`."""

    acquisition: Literal[
        "variance", "ucb", "expected improvement", "probability of improvement", "relative information entropy"
    ] = Field(default="ucb", description="what the next point is the best for; variance explores")
    n_initial: int = Field(default=5, ge=2, le=1000, description="points that are drawn before there is a process")
    train_every: int = Field(
        default=10, ge=1, description="fit the hyperparameters anew each time there are so many points more"
    )
    max_iter: int = Field(default=20, ge=1, le=10_000, description="steps of its searches")


class GpCam(LibraryType, package="gpcam"):
    """Measures where a Gaussian process of gpCAM's says it is worth most, also to learn a function and not its best.

    For ranges and for one outcome. Takes the fields of `Config`; needs ``pip install bluesky-agent-service[gpcam]``.
    """

    Config = _Config

    def brain(self, spec: AgentSpec) -> GpCamBrain:
        """Return the brain."""
        return GpCamBrain(self.problem(spec), self.config)


class GpCamBrain(ToldBrain):
    """Asks and tells a ``GPOptimizer``; its points are between 0 and 1, its values made large."""

    takes_sem = True

    def __init__(self, problem: Problem, config: _Config) -> None:
        super().__init__(problem)
        self._np = library("numpy")
        self._config = config
        self._random = self._np.random.default_rng(config.seed)
        self._process: Any = None
        self._trained = 0

    def _ask(self, number: int) -> list[Point]:
        np = self._np
        process = self._fitted()
        if process is None:
            return [self.problem.point(unit) for unit in self._random.uniform(size=(number, self.problem.width))]
        np.random.seed(self._config.seed + len(self.rows))
        points: list[Point] = []
        for _ in range(number):
            points.append(self._next(self._believing(process, [*self.pending.values(), *points])))
        return points

    def _next(self, process: Any) -> Point:
        bounds = self._np.array([[0.0, 1.0]] * self.problem.width)
        asked = process.ask(bounds, acquisition_function=self._config.acquisition, max_iter=self._config.max_iter)
        return self.problem.point(asked["x"][0])

    def _believing(self, process: Any, pending: Sequence[Mapping[str, Any]]) -> Any:
        """Return a process that takes points that wait for measured, with what it expects there: its own knows none."""
        if not pending:
            return process
        unknown = dict.fromkeys(self.problem.objectives, 0.0)
        data = self._data([{**point, **unknown} for point in pending])
        believing = copy.deepcopy(process)
        data["y"] = self._np.atleast_1d(process.posterior_mean(data["x"])["m(x)"])
        believing.tell(**data, append=True)
        return believing

    def predict(self, points: Sequence[Mapping[str, Any]]) -> list[dict[str, tuple[float, float]]]:
        """Return mean and standard deviation of the outcome at points, without its noise; none with too few data."""
        if self._process is None:
            return []
        places = self._np.array([self.problem.unit(point) for point in points])
        mean = self._process.posterior_mean(places)["m(x)"]
        variance = self._process.posterior_covariance(places, variance_only=True)["v(x)"]
        spread = self._np.sqrt(self._np.maximum(variance, 0.0))
        return self.problem.beliefs(self._np.ravel(mean), self._np.ravel(spread))

    def _tell(self, rows: Sequence[tuple[int | None, Mapping[str, Any]]]) -> None:
        if self._process is None:
            return
        new = [row for _, row in rows]
        if any(map(self._sem, new)) and not any(map(self._sem, self.rows[: -len(new)])):
            self._process, self._trained = None, 0  # it began without errors: made anew when it is asked
        else:
            self._process.tell(**self._data(new), append=True)

    def _data(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return rows as ``tell`` takes them: with the variances of their noise where any standard error is known."""
        np = self._np
        points = np.array([self.problem.unit(row) for row in rows])
        data: dict[str, Any] = {"y": np.array([-self.problem.costs(row)[0] for row in rows])}
        known = sorted(sem for row in self.rows if (sem := self._sem(row)))
        if known:  # gpCAM takes all errors or none, and no 0: the middle one stands for what nobody knows
            middle = known[len(known) // 2]
            data["noise_variances"] = np.array([(self._sem(row) or middle) ** 2 for row in rows])
        return {"x": points, **data}

    def _sem(self, row: Mapping[str, Any]) -> float | None:
        return row.get(SEM_KEY, {}).get(next(iter(self.problem.objectives)))

    def _fitted(self) -> Any:
        """Return the process of all data, trained when there are enough new ones; None while there are too few."""
        if len(self.rows) < self._config.n_initial:
            return None
        if self._process is None:
            start = self._np.array([1.0] + [0.3] * self.problem.width)
            data = self._data(self.rows)
            known = {"x_data": data.pop("x"), "y_data": data.pop("y"), **data}
            self._process = library("gpcam").GPOptimizer(**known, init_hyperparameters=start)
        if len(self.rows) >= self._trained + self._config.train_every or not self._trained:
            self._trained = len(self.rows)
            width = self.problem.width
            ends = self._np.array([[0.01, 1e4]] + [[0.05, 5.0]] * width)
            self._process.train(hyperparameter_bounds=ends, max_iter=self._config.max_iter, method="global")
        return self._process
