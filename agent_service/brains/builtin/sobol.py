"""A brain that fills a box evenly with a scrambled Sobol sequence: exploration without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from agent_service.brains.builtin.record import DesignBrain, Search

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        super().__init__(self.config, design(self.config), self.config.n_points)


def design(config: Search) -> Iterator[dict[str, float]]:
    """Yield the points of the scrambled Sobol sequence in ``config.bounds``, for ever, the same for the same seed."""
    # scipy takes a second to import; the service imports this module to know the type
    from scipy.stats import qmc  # noqa: PLC0415

    names = list(config.bounds)
    engine: Any = qmc.Sobol(len(names), scramble=True, rng=config.seed)
    while True:
        unit = engine.random(1)[0]
        yield {
            name: float(low + part * (high - low))
            for name, part, (low, high) in zip(names, unit, config.bounds.values(), strict=True)
        }
