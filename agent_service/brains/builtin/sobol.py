"""A brain that fills a box evenly with a scrambled Sobol sequence: exploration without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from agent_service.brains.builtin.record import Record, Search, check_goal, check_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class _Config(Search):
    """Configuration of `Sobol`."""

    n_points: int | None = Field(
        default=None, ge=1, description="number of points after which it wants to stop; null: never", examples=[32]
    )


class Sobol:
    """Suggests the points of a scrambled Sobol sequence.

    Parameters
    ----------
    **config
        See `Config`.

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
        self._record = Record(list(self.config.bounds), self.config)
        self._design = design(self.config)
        self._drawn = 0
        self._known: set[tuple[float, ...]] = set()
        self._next: dict[str, float] | None = None

    @classmethod
    def check(cls, config: _Config, *, actuators: Sequence[str], outcomes: Sequence[str]) -> None:
        """Raise `InvalidConfig` when the bounds are not those of the agent's actuators."""
        check_names(config.bounds, field="bounds", actuators=actuators)
        if config.objective is not None:
            check_goal(config, outcomes=outcomes)

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Return the next points of the sequence; fewer, at last none, when ``n_points`` is reached."""
        points: list[dict[str, Any]] = []
        while len(points) < (num_points or 1) and (point := self._peek()) is not None:
            self._next = None
            points.append(self._record.issue(point))
        return points

    def register_suggestions(self, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take points as suggested by this brain; one that the sequence still holds is not suggested again."""
        issued = [self._record.issue(one) for one in suggestions]
        self._known.update(tuple(self._record.position(one).values()) for one in issued)
        return issued

    def register_failures(self, suggestions: Sequence[Mapping[str, Any]]) -> None:
        """Give suggestions up, by ``_id``; they are not suggested again."""
        self._record.fail(suggestions)

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Take outcomes in."""
        self._record.take(points)

    def get_best_points(self) -> list[tuple[int | None, dict[str, float], dict[str, float]]]:
        """Return the point with the best measured objective; none when nothing says which outcome that is."""
        return self._record.best()

    def should_stop(self) -> tuple[bool, str | None]:
        """Return whether ``n_points`` were suggested and each was measured or given up."""
        if self.config.n_points is None:
            return False, None
        return self._record.all_done(self.config.n_points, exhausted=self._peek() is None)

    def report(self) -> dict[str, Any]:
        """Return how far it is."""
        return {
            "n_points": self.config.n_points,
            "n_measured": len(self._record.rows),
            "n_pending": len(self._record.pending),
            "n_failed": len(self._record.failed),
        }

    def _peek(self) -> dict[str, float] | None:
        """Draw points until one is new; it stays the next one until it is taken."""
        while self._next is not None or self._drawn != self.config.n_points:
            if self._next is None:
                self._next = next(self._design)
                self._drawn += 1
            if tuple(self._next.values()) not in self._known:
                return self._next
            self._next = None
        return None


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
