"""A brain that looks for the best point with a Gaussian process: Bayesian optimisation that knows of noise.

The acquisition function and its search are those of the bayesian-optimization package. Around them: an even initial
design, pending suggestions (kriging believer), repeated points, failed points, and a fit that counts noise as noise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from agent_service import references
from agent_service.brains.builtin.record import RecordingBrain, Search
from agent_service.brains.builtin.sobol import SobolDesign
from agent_service.brains.declared import variable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.brains.builtin._surrogate import Surrogate
    from agent_service.brains.builtin.record import Position, Row

_APART: Final = 1e-3
"""Least distance of a suggestion from a pending one, as a part of the bounds' width."""

_TRIES: Final = 512
"""How many evenly spread points to look at when the best one is taken or too near to a failed one."""

_ROUNDING: Final = 1e-9
"""How far past its bound a readback still counts as inside, as a part of the bounds' width."""


class _Config(Search):
    """Configuration of `Bayes`."""

    n_initial: int = Field(
        default=8, ge=2, le=1000, description="points that are spread evenly before the model is trusted"
    )
    xi: float = Field(
        default=0.01,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="exploration: how much better a point must promise to be, in standard deviations of the data",
        json_schema_extra={"writable": True},
    )
    failure_radius: float = Field(
        default=0.02,
        ge=0,
        le=0.5,
        description="how far around a failed point not to suggest again, as a part of the bounds' width",
    )


class Bayes(RecordingBrain):
    """Finds the best point by expected improvement on a Gaussian process.

    The best point is the measured one at which the model's mean is best: with noise, the best single reading is partly
    luck. Its outcome is what was measured there. Measurements outside the bounds are left out, and counted in the
    report. Needs 0.1 s for a suggestion at 30 points in two dimensions. Takes the fields of `Config`.

    References
    ----------
    D. R. Jones, M. Schonlau, W. J. Welch, "Efficient Global Optimization of Expensive Black-Box Functions", J. Global
    Optimization 13, 455 (1998); pending points: D. Ginsbourger, R. Le Riche, L. Carraro, "Kriging Is Well-Suited to
    Parallelize Optimization" (2010).

    Examples
    --------
    >>> brain = Bayes(bounds={"mirror_x": [-5, 5], "mirror_y": [-5, 5]})
    >>> [point["_id"] for point in brain.suggest(2)]
    [0, 1]
    """

    Config = _Config
    needs_objective = True

    def __init__(self, **config: Any) -> None:
        self.config = _Config(**config)
        super().__init__(self.config, accept=self._accept)
        self._xi = self.config.xi
        self._design: list[Position] = []
        self._source = SobolDesign(self.config)
        self._model: Surrogate | None = None
        self._gain: float | None = None

    @variable
    def xi(self) -> float:
        """Exploration: how much better a point must promise to be, in standard deviations of the data."""
        return self._xi

    @xi.setter
    def xi(self, value: float) -> None:
        self._xi = float(value)

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Return as many points as asked for, each different from the others and from those still pending."""
        return [self._record.issue(self._next()) for _ in range(num_points or 1)]

    def get_best_points(self) -> list[tuple[int | None, dict[str, float], dict[str, float]]]:
        """Return the measured point at which the model's mean is best, with what was measured there."""
        best = self._best()
        return [] if best is None else [(best.id, dict(best.point), dict(best.outcome))]

    def predict(self, points: Sequence[Mapping[str, float]]) -> list[dict[str, tuple[float, float]]]:
        """Return mean and standard deviation of the objective at points, without the noise; none with too few data."""
        model = self._fitted()
        if model is None:
            return []
        name, sign = self.config.judged_by
        means, stds = model.predict([self._unit(point) for point in points])
        return [{name: (sign * mean, std)} for mean, std in zip(means, stds, strict=True)]

    def acquisition(self, points: Sequence[Mapping[str, float]]) -> list[float]:
        """Return the expected improvement at points, in units of the objective; none with too few data."""
        model = self._fitted()
        return [] if model is None else model.improvement([self._unit(point) for point in points], xi=self._xi)

    def report(self) -> dict[str, Any]:
        """Return what the model knows.

        Numbers of points; with enough data, ``length_scales`` by actuator in its units, ``noise`` (standard deviation
        of one measurement) and the model's ``mean`` and ``std`` at the best point in units of the objective, and
        ``expected_gain`` of the last suggestion in the same units.
        """
        record = self._record
        counts = {**super().report(), "n_left_out": record.left_out}
        if record.left_out:
            counts["note"] = f"{record.left_out} measurements were out of bounds or no number, and are left out"
        best, model = self._best(), self._fitted()
        if best is None or model is None:
            return counts
        mean, std = model.predict([self._unit(best.point)])
        scales = zip(self.config.bounds.items(), model.length_scales, strict=True)
        return {
            **counts,
            "length_scales": {name: part * (high - low) for (name, (low, high)), part in scales},
            "noise": model.noise,
            "best": {
                "point": dict(best.point),
                "outcome": dict(best.outcome),
                "mean": self.config.judged_by[1] * mean[0],
                "std": std[0],
            },
            "expected_gain": self._gain,
        }

    # ---

    def _accept(self, row: Row) -> bool:
        unit = self._unit(row.point)
        inside = all(abs(part - 0.5) <= 0.5 + _ROUNDING for part in unit)
        return math.isfinite(self._record.value(row)) and inside

    def _next(self) -> Position:
        record = self._record
        known = [self._unit(row.point) for row in record.rows]
        pending = [self._unit(point) for point in record.pending.values()]
        model = self._fitted() if len(known) + len(pending) >= self.config.n_initial else None
        if model is None:
            return self._spread([*known, *pending])
        with_pending = model.believing(pending)
        unit, self._gain = with_pending.suggest(xi=self._xi, seed=(self.config.seed + record.issued) % 2**32)
        if not self._allowed(unit, pending):
            candidates = [place for place in with_pending.ranked(_TRIES, xi=self._xi) if self._allowed(place, pending)]
            unit = candidates[0] if candidates else unit
        return self._point(unit)

    def _spread(self, known: list[list[float]]) -> Position:
        """Return the first point of the initial design that is neither known nor near a failed one."""
        for index in range(len(known) + len(self._record.failed) + _TRIES):
            if index == len(self._design):
                self._design.append(next(self._source))
            if self._allowed(self._unit(self._design[index]), known):
                return self._design[index]
        return next(self._source)

    def _allowed(self, unit: Sequence[float], taken: Sequence[Sequence[float]]) -> bool:
        failed = (self._unit(point) for point in self._record.failed)
        return all(math.dist(unit, place) > _APART for place in taken) and all(
            math.dist(unit, place) > self.config.failure_radius for place in failed
        )

    def _fitted(self) -> Surrogate | None:
        """Return the model of all data, or None as long as there is too little for one."""
        rows = self._record.rows
        if len(rows) < max(3, len(self.config.bounds) + 1):
            return None
        if self._model is None or self._model.n_points != len(rows):
            # scikit-learn takes a second or two to import; the service imports this module to know the type
            surrogate: Any = references.module(f"{__package__}._surrogate")
            points = [self._unit(row.point) for row in rows]
            self._model = surrogate.fit(points, self._record.values(), after=self._model)
        return self._model

    def _best(self) -> Row | None:
        model = self._fitted()
        rows = [row for row in self._record.rows if self.config.goals.feasible(row.outcome)]
        if model is None or not rows:
            return max(rows, key=self._record.value, default=None)
        means, _ = model.predict([self._unit(row.point) for row in rows])
        return rows[max(range(len(rows)), key=means.__getitem__)]

    def _unit(self, point: Mapping[str, float]) -> list[float]:
        return [(point[name] - low) / (high - low) for name, (low, high) in self.config.bounds.items()]

    def _point(self, unit: Sequence[float]) -> Position:
        return {
            name: min(high, max(low, low + float(part) * (high - low)))
            for (name, (low, high)), part in zip(self.config.bounds.items(), unit, strict=True)
        }
