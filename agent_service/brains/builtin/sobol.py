"""A brain that fills a box evenly with a scrambled Sobol sequence: exploration without a model."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from agent_service import references
from agent_service.brains.builtin.record import DesignBrain, Search


class _Config(Search):
    """Configuration of `Sobol`."""

    n_points: int | None = Field(
        default=None, ge=1, description="number of points after which it wants to stop; null: never", examples=[32]
    )


class Sobol(DesignBrain):
    """Suggests the points of a scrambled Sobol sequence. Takes the fields of `Config`.

    References
    ----------
    A. B. Owen, "Scrambling Sobol' and Niederreiter-Xing points", Journal of Complexity 14, 466 (1998), as in
    ``scipy.stats.qmc.Sobol``. Balance is best when the number of points is a power of 2.

    Examples
    --------
    >>> brain = Sobol(bounds={"mirror_x": [-5, 5]}, n_points=2)
    >>> len(brain.suggest(5))
    2
    """

    Config = _Config

    def __init__(self, **config: Any) -> None:
        self.config = _Config(**config)
        super().__init__(self.config, SobolDesign(self.config), self.config.n_points)


class SobolDesign:
    """Iterates over the scrambled Sobol sequence in ``config.bounds``, for ever, the same for the same seed.

    A generator could not be pickled, and a brain's state is.
    """

    def __init__(self, config: Search) -> None:
        # scipy takes a second to import; the service imports this module to know the type
        qmc: Any = references.module("scipy.stats.qmc")
        self._bounds = config.bounds
        self._engine: Any = qmc.Sobol(len(config.bounds), scramble=True, rng=config.seed)

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> dict[str, float]:
        """Return the next point."""
        unit = self._engine.random(1)[0]
        return {
            name: float(low + part * (high - low))
            for part, (name, (low, high)) in zip(unit, self._bounds.items(), strict=True)
        }
