"""scikit-learn: a regressor as the model, and an acquisition of ours that picks points out of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from agent_service.brains.adapters.library_type import LibraryType, Search, library
from agent_service.brains.adapters.problem import Problem
from agent_service.brains.adapters.told import ToldBrain
from agent_service.models import Point  # noqa: TC001 - pydantic reads the annotation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.models import AgentSpec


class _Config(Search):
    """Configuration of `Pool`."""

    estimator: Literal["gaussian_process", "random_forest", "extra_trees"] = Field(
        default="gaussian_process", description="the model: the two of trees are for many points, and for steps"
    )
    acquisition: Literal["ucb", "variance", "mean"] = Field(
        default="ucb",
        description="what is picked: the best within kappa spreads, the least known, the best mean",
    )
    kappa: float = Field(default=2.0, ge=0, le=100, description="how many spreads a point may promise to be better")
    n_initial: int = Field(default=5, ge=1, le=1000, description="points that are picked evenly before it has a model")
    pool: list[Point] | None = Field(
        default=None,
        description="the points to pick from, each once; null: an even spread, anew each time",
    )


class Pool(LibraryType, package="sklearn"):
    """Picks points out of a pool by a model of scikit-learn's: the best, or those of which least is known.

    A pool that is listed comes to its end. In mixed spaces and for one outcome. Takes the fields of `Config`.
    """

    Config = _Config

    def brain(self, spec: AgentSpec) -> PoolBrain:
        """Return the brain."""
        ensemble = library("sklearn.ensemble")
        kernels = library("sklearn.gaussian_process.kernels")

        config = self.config
        made: Any
        if config.estimator == "gaussian_process":
            kernel: Any = kernels.Matern(nu=2.5, length_scale=0.3, length_scale_bounds=(0.02, 10.0))
            made = library("sklearn.gaussian_process").GaussianProcessRegressor(
                kernel, alpha=1e-4, normalize_y=True, random_state=config.seed
            )
        elif config.estimator == "random_forest":
            made = ensemble.RandomForestRegressor(random_state=config.seed)
        else:
            made = ensemble.ExtraTreesRegressor(random_state=config.seed)
        return PoolBrain(made, self.problem(spec), config)


def adapted(estimator: Any, spec: AgentSpec) -> PoolBrain:
    """Return the brain of a regressor that somebody made, which is fitted anew to all data."""
    return PoolBrain(estimator, Problem.of(spec), _Config())


class PoolBrain(ToldBrain):
    """Fits a regressor, and picks. Points that wait are in its data with what it believes of them."""

    def __init__(self, estimator: Any, problem: Problem, config: _Config) -> None:
        super().__init__(problem)
        self._np = library("numpy")
        self._estimator = estimator
        self._config = config
        listed = [problem.position(point) for point in config.pool or ()]
        if None in listed:
            raise ValueError(f"config.pool.{listed.index(None)} is no point of the space")
        self._pool = None if config.pool is None else [point for point in listed if point is not None]

    def _ask(self, number: int) -> list[Point]:
        points: list[Point] = []
        while len(points) < number and (candidates := self._candidates(points)):
            points.append(self._picked(candidates, points))
        return points

    def _candidates(self, taken: Sequence[Point]) -> list[Point]:
        """Return what may be picked; of a listed pool what was not yet."""
        if self._pool is None:
            qmc = library("scipy.stats.qmc")

            spread = qmc.Halton(self.problem.width, seed=self._config.seed + self._issued + len(taken))
            return [self.problem.point(unit) for unit in spread.random(500)]
        known = [tuple(self._place(row)) for row in (*self.rows, *self.pending.values(), *self.failed, *taken)]
        return [point for point in self._pool if tuple(point.values()) not in known]

    def _picked(self, candidates: Sequence[Point], taken: Sequence[Point]) -> Point:
        np = self._np
        units = np.array([self.problem.unit(point) for point in candidates])
        waiting = [self.problem.unit(row) for row in (*self.pending.values(), *taken)]
        known = [self.problem.unit(row) for row in self.rows]
        if len(self.rows) < self._config.n_initial:
            return candidates[int(_distance(np, units, known + waiting).argmax())]
        values = [-self.problem.costs(row)[0] for row in self.rows]
        self._estimator.fit(np.array(known), np.array(values))
        if waiting:
            believed = self._estimator.predict(np.array(waiting))
            self._estimator.fit(np.array(known + waiting), np.concatenate([values, believed]))
        mean, spread = self._predict(units, known + waiting)
        weight = {"ucb": (1.0, self._config.kappa), "variance": (0.0, 1.0), "mean": (1.0, 0.0)}[
            self._config.acquisition
        ]
        return candidates[int((weight[0] * mean + weight[1] * spread).argmax())]

    def predict(self, points: Sequence[Mapping[str, Any]]) -> list[dict[str, tuple[float, float]]]:
        """Return mean and spread of the outcome at points; none with too few data."""
        if len(self.rows) < self._config.n_initial:
            return []
        np, known = self._np, [self.problem.unit(row) for row in self.rows]
        self._estimator.fit(np.array(known), np.array([-self.problem.costs(row)[0] for row in self.rows]))
        return self.problem.beliefs(*self._predict(np.array([self.problem.unit(point) for point in points]), known))

    def _predict(self, units: Any, known: Sequence[Sequence[float]]) -> tuple[Any, Any]:
        """Return means and spreads: the model's own, that of its trees, or the way to the next known point."""
        np, estimator = self._np, self._estimator
        try:
            return estimator.predict(units, return_std=True)
        except TypeError:
            mean = estimator.predict(units)
        if hasattr(estimator, "estimators_"):
            trees = np.ravel(np.array(estimator.estimators_, dtype=object))
            return mean, np.std([tree.predict(units) for tree in trees], axis=0)
        values = np.array([self.problem.costs(row)[0] for row in self.rows])
        return mean, values.std() * _distance(np, units, known)

    def _tell(self, rows: Sequence[tuple[int | None, Mapping[str, Any]]]) -> None:
        """Nothing: it is fitted when it is asked."""

    def _place(self, row: Mapping[str, Any]) -> list[Any]:
        return [row[name] for name in self.problem.names]


def _distance(np: Any, units: Any, known: Sequence[Sequence[float]]) -> Any:
    """Return how far each of ``units`` is from the nearest known point; from the middle while there is none."""
    if not known:
        return -np.linalg.norm(units - 0.5, axis=1)
    return np.min([np.linalg.norm(units - np.array(place), axis=1) for place in known], axis=0)
