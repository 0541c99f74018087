"""The Gaussian process behind `Bayes`. Importing this imports scikit-learn and bayesian-optimization."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from bayes_opt.acquisition import AcquisitionFunction, ExpectedImprovement
from bayes_opt.target_space import TargetSpace
from scipy.optimize import minimize
from scipy.stats import qmc
from sklearn import gaussian_process
from sklearn.gaussian_process import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_STARTS: Final = ((0.3, 1e-3), (0.15, 1e-2))
"""Length scale and noise variance (both relative) from which the likelihood is climbed."""

_MANY: Final = 100
"""With more points than this, the hyperparameters are fitted anew only when there are a tenth more."""

_CLIMBER: Final = "TNC"
"""L-BFGS-B calls a threaded BLAS for its tiny matrices: on a busy machine that costs 2 ms an iteration."""

_PATIENCE: Final = {"maxfun": 50}

# scikit-learn's types are narrower than what it takes
_Process: Any = gaussian_process.GaussianProcessRegressor
_Constant: Any = kernels.ConstantKernel
_Matern: Any = kernels.Matern
_White: Any = kernels.WhiteKernel


class Surrogate:
    """A Gaussian process of points in the unit cube, with the noise as a part of the model; `fit` makes one.

    ``points`` and ``values`` are the data, shapes (n, d) and (n,), the values standardised from mean ``centre`` and
    standard deviation ``scale``; higher is better. ``theta``, shape (d + 2,), holds the logarithms of amplitude, d
    length scales and noise variance, fitted to ``n_fitted`` points.
    """

    def __init__(  # noqa: PLR0913 - a plain record of what `fit` found
        self,
        points: NDArray[np.float64],
        values: NDArray[np.float64],
        *,
        theta: NDArray[np.float64],
        n_fitted: int,
        centre: float,
        scale: float,
    ) -> None:
        self.theta = theta
        self.n_fitted = n_fitted
        self._points = points
        self._values = values
        self._centre = centre
        self._scale = scale
        amplitude, lengths, noise = np.exp(theta[0]), np.exp(theta[1:-1]), float(np.exp(theta[-1]))
        kernel = _Constant(amplitude) * _Matern(nu=2.5, length_scale=lengths)
        # the noise as alpha and not as a kernel: the spread then is that of the noise-free value
        self._gp: Any = _Process(kernel, alpha=max(noise, 1e-8), optimizer=None).fit(points, values)

    @property
    def n_points(self) -> int:
        """Number of points it knows, those it believes among them."""
        return len(self._points)

    @property
    def length_scales(self) -> list[float]:
        """Length scale along each axis, as a part of the unit cube."""
        return [float(length) for length in np.exp(self.theta[1:-1])]

    @property
    def noise(self) -> float:
        """Standard deviation of one measurement, in units of the values."""
        return float(np.exp(self.theta[-1] / 2)) * self._scale

    def predict(self, points: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation of the noise-free value at points, in units of the values."""
        mean, std = self._gp.predict(np.asarray(points, dtype=float), return_std=True)
        return (mean * self._scale + self._centre).tolist(), (std * self._scale).tolist()

    def believing(self, pending: Sequence[Sequence[float]]) -> Surrogate:
        """Return a model that takes its own mean at ``pending`` for measured: it has little to gain there any more."""
        if not pending:
            return self
        more = np.asarray(pending, dtype=float)
        return Surrogate(
            np.vstack([self._points, more]),
            np.concatenate([self._values, self._gp.predict(more)]),
            theta=self.theta,
            n_fitted=self.n_fitted,
            centre=self._centre,
            scale=self._scale,
        )

    def suggest(self, *, xi: float, seed: int) -> tuple[list[float], float]:
        """Return the point of highest expected improvement, and that improvement in units of the values.

        ``xi`` is the exploration, in standard deviations of the values; ``seed`` that of the search.
        """
        size = self._points.shape[1]
        space = TargetSpace(None, {str(axis): (0.0, 1.0) for axis in range(size)})
        space.register(cast("Any", np.full(size, 0.5)), 0.0)  # it refuses to search an empty space
        acquisition = self._acquisition(xi)
        # not ExpectedImprovement.suggest: that compares with the luckiest reading instead of the model's mean
        rough = AcquisitionFunction.suggest(
            acquisition,
            gp=self._gp,
            target_space=space,
            n_random=2000,
            n_smart=0,
            fit_gp=False,
            random_state=np.random.RandomState(seed),
        )
        best, gain = self._climbed(acquisition, [rough, self._points[self._gp.predict(self._points).argmax()]])
        return [float(part) for part in best], gain * self._scale

    def ranked(self, n_points: int, *, xi: float) -> list[list[float]]:
        """Return evenly spread points by falling expected improvement."""
        unit = qmc.Halton(self._points.shape[1], scramble=False).random(n_points)
        return unit[np.argsort(-self._improvement(self._acquisition(xi), unit), kind="stable")].tolist()

    def improvement(self, points: Sequence[Sequence[float]], *, xi: float) -> list[float]:
        """Return the expected improvement at points, shape (n, d), in units of the values."""
        unit = np.asarray(points, dtype=float)
        return (self._improvement(self._acquisition(xi), unit) * self._scale).tolist()

    def _climbed(self, acquisition: Any, starts: list[Any]) -> tuple[Any, float]:
        """Climb to the highest expected improvement, from the best of a crowd and from the best point so far."""

        def cost(unit: Any) -> float:
            return -float(self._improvement(acquisition, unit[None, :])[0])

        bounds = [(0.0, 1.0)] * self._points.shape[1]
        climbs = [minimize(cost, start, bounds=bounds, method=_CLIMBER, options=_PATIENCE) for start in starts]
        best = climbs[int(np.argmin([climb.fun for climb in climbs]))]
        return np.clip(best.x, 0, 1), -float(best.fun)

    def _acquisition(self, xi: float) -> Any:
        acquisition: Any = ExpectedImprovement(xi=xi)
        acquisition.y_max = float(self._gp.predict(self._points).max())
        return acquisition

    def _improvement(self, acquisition: Any, unit: Any) -> Any:
        mean, std = self._gp.predict(unit, return_std=True)
        return acquisition.base_acq(mean, np.maximum(std, 1e-12))


def fit(points: Sequence[Sequence[float]], values: Sequence[float], *, after: Surrogate | None = None) -> Surrogate:
    """Fit a Gaussian process to points in the unit cube, shape (n, d), and values, shape (n,); higher is better.

    Repeated points are welcome: they tell the noise. The fit starts at the hyperparameters of ``after`` too, the model
    of fewer data that this one follows.
    """
    where, what = np.asarray(points, dtype=float), np.asarray(values, dtype=float)
    centre, spread = float(what.mean()), float(what.std())
    scale = spread if spread > 0 else 1.0
    standard = (what - centre) / scale
    if after is not None and _MANY < len(where) < 1.1 * after.n_fitted:
        theta, n_fitted = after.theta, after.n_fitted
    else:
        theta, n_fitted = _most_likely(where, standard, after), len(where)
    return Surrogate(where, standard, theta=theta, n_fitted=n_fitted, centre=centre, scale=scale)


def _most_likely(
    points: NDArray[np.float64], values: NDArray[np.float64], after: Surrogate | None
) -> NDArray[np.float64]:
    """Climb the marginal likelihood.

    Done here because scikit-learn's own fit warns of each parameter that ends at a bound, and warnings can be silenced
    for the whole process only.
    """
    size = points.shape[1]
    kernel = _Constant(1.0, (0.05, 20.0)) * _Matern(
        nu=2.5, length_scale=np.ones(size), length_scale_bounds=(0.05, 3.0)
    ) + _White(1e-3, (1e-6, 0.5))
    process = _Process(kernel, optimizer=None).fit(points, values)

    def cost(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, slope = process.log_marginal_likelihood(theta, eval_gradient=True, clone_kernel=False)
        return -value, -slope

    starts = [np.log([1.0, *[scale] * size, noise]) for scale, noise in _STARTS]
    if after is not None:
        starts = [after.theta, starts[0]]
    climbs: list[Any] = [
        minimize(cost, start, jac=True, bounds=kernel.bounds, method=_CLIMBER, options=_PATIENCE) for start in starts
    ]
    return climbs[int(np.argmin([climb.fun for climb in climbs]))].x
