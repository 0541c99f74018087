"""The common part of families whose library knows no trials: which points wait, which were measured, which failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.models import ID_KEY
from agent_service.models.standard_errors import SEM_KEY, errors_of_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent_service.brains.adapters.problem import Problem
    from agent_service.models import Point


class ToldBrain:
    """A brain that numbers its points; `_ask` and `_tell` are its subclass's.

    Points outside the space are left out, and counted. A point that breaks a constraint is told as bad as the worst so
    far in each objective, unless the library ``knows_constraints``. A row holds numbers; with ``takes_sem`` the
    standard errors are in it, too, under `SEM_KEY`. ``columns`` of a suggestion that are no actuators are the library's
    own, and are given back with its outcome.

    Attributes
    ----------
    most_pending
        How many points it can have open at a time; None: any number, for its library knows the points that wait, or
        the subclass lets it believe an outcome of them.
    """

    most_pending: int | None = None
    takes_sem = False
    knows_constraints = False

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.objectives = problem.goals.objectives
        self.outcome_constraints = problem.constraints
        self.space = dict(problem.space)
        self.pending: dict[int, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []
        self.failed: list[Point] = []
        self._issued = 0
        self._left_out = 0

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Return points, each with a number."""
        return [self._issue(point) for point in self._ask(num_points or 1)]

    def register_suggestions(self, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take points as suggested by this brain; those outside the space get no number."""
        return [self._registered(point) for point in suggestions]

    def register_failures(self, suggestions: Sequence[Mapping[str, Any]]) -> None:
        """Give points up, by number."""
        gone = [
            (number, self.pending.pop(number)) for point in suggestions if (number := point[ID_KEY]) in self.pending
        ]
        self.failed += [{name: point[name] for name in self.problem.names} for _, point in gone]
        if gone:
            self._give_up([number for number, _ in gone])

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Take outcomes in, of own points or of anybody's."""
        outcomes_by_trial: list[tuple[int | None, dict[str, Any]]] = []
        for point in points:
            if (row := self._row(point)) is not None:
                outcomes_by_trial.append(row)
                self.rows.append(row[1])
        self._left_out += len(points) - len(outcomes_by_trial)
        if outcomes_by_trial:
            self._tell(outcomes_by_trial)

    def report(self) -> dict[str, Any]:
        """Return how many points were measured, wait to be, and will not be: failed, rejected, or edited."""
        counts = {"n_measured": len(self.rows), "n_pending": len(self.pending), "n_not_measured": len(self.failed)}
        return {**counts, "n_left_out": self._left_out}

    # what a family is -----------------------------------------------------------------------------------------------

    def _ask(self, number: int) -> Iterable[Mapping[str, Any]]:
        """Return at most so many points, with columns of the library's own if it likes; `NotNow` to wait."""
        raise NotImplementedError

    def _tell(self, rows: Sequence[tuple[int | None, Mapping[str, Any]]]) -> None:
        """Tell the library rows: each the number of its point, if it has one, and position, outcomes and columns."""
        raise NotImplementedError

    def _give_up(self, numbers: Sequence[int]) -> None:
        """Tell the library that points found no outcome, where it wants to know."""

    def _adopt(self, number: int, point: Mapping[str, Any]) -> None:
        """Tell the library of a point as if it were its own, where it wants to know."""

    # ----------------------------------------------------------------------------------------------------------------

    def _issue(self, point: Mapping[str, Any]) -> dict[str, Any]:
        number, self._issued = self._issued, self._issued + 1
        self.pending[number] = dict(point)
        return {**{name: point[name] for name in self.problem.names}, ID_KEY: number}

    def _registered(self, point: Mapping[str, Any]) -> dict[str, Any]:
        position = self.problem.position(point)
        if position is None:
            return dict(point) | {ID_KEY: None}
        issued = self._issue(position)
        self._adopt(issued[ID_KEY], position)
        return issued

    def _row(self, point: Mapping[str, Any]) -> tuple[int | None, dict[str, Any]] | None:
        number = point.get(ID_KEY)
        columns = self.pending.pop(number, {}) if number is not None else {}
        position = self.problem.position({**columns, **point})
        if position is None:
            return None
        sems = errors_of_pairs(point)
        outcomes: dict[str, Any] = {**point, **{name: point[name][0] for name in sems}}
        outcomes |= self._objectives_of(outcomes)
        if sems:
            outcomes[SEM_KEY] = {**sems, **self.problem.goals.derived_errors(sems)}
        outcomes.pop(ID_KEY, None)
        return number, {**columns, **outcomes, **position}

    def _objectives_of(self, outcomes: Mapping[str, Any]) -> dict[str, float]:
        """Return the objectives of a point, if it has all."""
        objectives = self.problem.objectives
        known_values = {**outcomes, **self.problem.goals.derived(outcomes)}
        values = {name: float(known_values[name]) for name in objectives if name in known_values}
        if self.knows_constraints or self.problem.goals.feasible(outcomes):
            return values
        seen = {name: [value, *(float(row.get(name, value)) for row in self.rows)] for name, value in values.items()}
        return {name: min(many) if objectives[name] == "maximize" else max(many) for name, many in seen.items()}
