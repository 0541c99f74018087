"""A brain that suggests the points of a list, in order: for a scan under the service's supervision, and for tests."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from agent_service.brains.builtin.record import Goal, Record, check_goal, check_names
from agent_service.models import Number  # noqa: TC001 - pydantic reads it at run time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as SequenceOf


class _Config(Goal):
    """Configuration of `Sequence`."""

    points: list[dict[str, Number]] = Field(
        description="points to measure, in order: actuator name to position, in the actuator's units",
        examples=[[{"motor": -1.0}, {"motor": 0.0}, {"motor": 1.0}]],
        min_length=1,
    )
    repeat: int = Field(default=1, ge=1, description="how many times to go through the list")

    @model_validator(mode="after")
    def _alike(self) -> _Config:
        names = set(self.points[0])
        if not names:
            raise ValueError("points.0 names no actuator")
        for index, point in enumerate(self.points):
            if set(point) != names:
                raise ValueError(f"points.{index} does not name the same actuators as points.0")
        return self


class Sequence:
    """Suggests given points in order, then wants to stop.

    Parameters
    ----------
    **config
        See `Config`.

    Examples
    --------
    >>> brain = Sequence(points=[{"motor": 1}, {"motor": 2}])
    >>> brain.suggest(3)
    [{'motor': 1, '_id': 0}, {'motor': 2, '_id': 1}]
    >>> brain.ingest([{"motor": 1, "det": 0.5, "_id": 0}, {"motor": 2, "det": 0.1, "_id": 1}])
    >>> brain.should_stop()
    (True, 'all 2 points are done')
    """

    Config = _Config

    def __init__(self, **config: Any) -> None:
        self.config = _Config(**config)
        self._record = Record(sorted(self.config.points[0]), self.config)
        self._todo = [self._record.position(one) for one in self.config.points] * self.config.repeat
        self._next = 0
        self._ahead: Counter[tuple[float, ...]] = Counter()

    @classmethod
    def check(cls, config: _Config, *, actuators: SequenceOf[str], outcomes: SequenceOf[str]) -> None:
        """Raise `InvalidConfig` when the points are not those of the agent's actuators."""
        check_names(config.points[0], field="points.0", actuators=actuators)
        if config.objective is not None:
            check_goal(config, outcomes=outcomes)

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Return the next points of the list; fewer, at last none, when it comes to its end."""
        points: list[dict[str, Any]] = []
        while len(points) < (num_points or 1) and self._next < len(self._todo):
            point = self._todo[self._next]
            self._next += 1
            if self._ahead[tuple(point.values())]:
                # somebody registered it already
                self._ahead[tuple(point.values())] -= 1
            else:
                points.append(self._record.issue(point))
        return points

    def register_suggestions(self, suggestions: SequenceOf[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take points as suggested by this brain; one that the list still holds is not suggested again."""
        issued = [self._record.issue(one) for one in suggestions]
        self._ahead.update(tuple(self._record.position(one).values()) for one in issued)
        return issued

    def register_failures(self, suggestions: SequenceOf[Mapping[str, Any]]) -> None:
        """Give suggestions up, by ``_id``; they are not suggested again."""
        self._record.fail(suggestions)

    def ingest(self, points: SequenceOf[Mapping[str, Any]]) -> None:
        """Take outcomes in."""
        self._record.take(points)

    def get_best_points(self) -> list[tuple[int | None, dict[str, float], dict[str, float]]]:
        """Return the point with the best measured objective; none when nothing says which outcome that is."""
        return self._record.best()

    def should_stop(self) -> tuple[bool, str | None]:
        """Return whether every point of the list was measured or given up."""
        left = Counter(tuple(one.values()) for one in self._todo[self._next :]) - self._ahead
        return self._record.all_done(len(self._todo), exhausted=not left)

    def report(self) -> dict[str, Any]:
        """Return how far it is."""
        return {
            "n_points": len(self._todo),
            "n_measured": len(self._record.rows),
            "n_pending": len(self._record.pending),
            "n_failed": len(self._record.failed),
        }
