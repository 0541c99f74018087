"""What the brains we ship do alike, over a `Record` of their suggestions and measurements."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from agent_service.brains.builtin.record import Record, check_goal, check_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from agent_service.brains.builtin.record import Goal, Row
    from agent_service.models import Point


class RecordingBrain:
    """A brain that keeps a record: the next point is its subclass's."""

    needs_objective: ClassVar[bool] = False
    """Whether it cannot do without an objective, which is then checked although the configuration names none."""

    def __init__(self, goal: Goal, *, accept: Callable[[Row], bool] = lambda row: True) -> None:
        self._record = Record(goal, accept=accept)

    @classmethod
    def check(cls, config: Goal, *, actuators: Sequence[str], outcomes: Sequence[str]) -> None:
        """Raise `InvalidConfig` when the configuration is not for the agent's actuators and outcomes."""
        check_names(config.actuators, field=config.named_in, actuators=actuators)
        if cls.needs_objective or config.objective is not None:
            check_goal(config, outcomes=outcomes)

    def register_suggestions(self, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take points as suggested by this brain: they are pending until they are ingested or given up."""
        return [self._record.issue(suggestion) for suggestion in suggestions]

    def register_failures(self, suggestions: Sequence[Mapping[str, Any]]) -> None:
        """Give suggestions up, by ``_id``; they are not suggested again."""
        self._record.fail(suggestions)

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Take outcomes in, of own suggestions or of anybody's; `ValueError` when one lacks an actuator."""
        self._record.take(points)

    def report(self) -> dict[str, Any]:
        """Return how many points were measured, wait to be, and failed."""
        return {
            "n_measured": len(self._record.rows),
            "n_pending": len(self._record.pending),
            "n_failed": len(self._record.failed),
        }


class DesignBrain(RecordingBrain):
    """Suggests the points of a design in order, without those that were registered already, then wants to stop.

    ``n_points`` is how many there are, None when they never end.
    """

    def __init__(self, goal: Goal, design: Iterable[Point], n_points: int | None) -> None:
        super().__init__(goal)
        self._design: Iterator[Point] = iter(design)
        self._n_points = n_points
        self._drawn = 0
        self._next: Point | None = None
        self._registered: Counter[tuple[float, ...]] = Counter()  # and still to come in the design

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Return the next points of the design; fewer, at last none, when it comes to its end."""
        points: list[dict[str, Any]] = []
        while len(points) < (num_points or 1) and (point := self._peek()) is not None:
            self._next = None
            points.append(self._record.issue(point))
        return points

    def register_suggestions(self, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take points as suggested by this brain; one that the design still holds is not suggested again."""
        issued = super().register_suggestions(suggestions)
        self._registered.update(tuple(self._record.position(point).values()) for point in issued)
        return issued

    def get_best_points(self) -> list[tuple[int | None, dict[str, float], dict[str, float]]]:
        """Return the point with the best measured objective; none when nothing says which outcome that is."""
        return self._record.best()

    def should_stop(self) -> tuple[bool, str | None]:
        """Return whether every point of the design was measured or given up."""
        if self._n_points is None or self._record.pending or self._peek() is not None:
            return False, None
        return True, f"all {self._n_points} points are done"

    def report(self) -> dict[str, Any]:
        """Return how far it is."""
        return {"n_points": self._n_points, **super().report()}

    def _peek(self) -> Point | None:
        """Return the next point of the design that nobody registered; it stays the next one until it is taken."""
        while self._next is not None or self._drawn != self._n_points:
            if self._next is None:
                self._next = next(self._design)
                self._drawn += 1
            place = tuple(self._next.values())
            if not self._registered[place]:
                return self._next
            self._registered[place] -= 1
            self._next = None
        return None
