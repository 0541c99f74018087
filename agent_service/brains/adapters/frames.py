"""Points as the libraries of tables have them: a row each, whole numbers in steps, and choices as texts.

BayBE and BoFire know categories by texts only, so in their tables a text stands for each value of a choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.brains.adapters.library_type import library
from agent_service.models.spaces import Choice, FloatRange, IntRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent_service.brains.adapters.problem import Problem
    from agent_service.models import Point, Value
    from agent_service.models.spaces import Dimension


class Frames:
    """Turns points of a problem into tables, and rows of tables into points."""

    def __init__(self, problem: Problem) -> None:
        self._pandas = library("pandas")
        self._problem = problem
        self._values = {name: labels(one) for name, one in problem.space.items()}

    def of(self, rows: Sequence[Mapping[str, Any]], *, outcomes: Iterable[str] = ()) -> Any:
        """Return a table of positions, and of these outcomes."""
        known = [{**self._labelled(row), **{name: float(row[name]) for name in outcomes}} for row in rows]
        return self._pandas.DataFrame(known)

    def points(self, table: Any) -> list[Point]:
        """Return the positions in a table."""
        return [self._point(row) for row in table[self._problem.names].to_dict("records")]

    def _labelled(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: next(label for label, value in known.items() if value == row[name] and type(value) is type(row[name]))
            if (known := self._values[name])
            else float(row[name])
            for name in self._problem.names
        }

    def _point(self, row: Mapping[str, Any]) -> Point:
        found = {name: self._values[name][value] if self._values[name] else value for name, value in row.items()}
        point = self._problem.position(found)
        if point is None:
            raise ValueError(f"its library suggested {found}, which is no point of the space")
        return point


def labels(one: Dimension) -> dict[str, Value]:
    """Return the texts that stand for the values of a choice; none for a range."""
    if isinstance(one, FloatRange | IntRange):
        return {}
    values: list[Value] = list(one.values) if isinstance(one, Choice) else [False, True]
    return {value if isinstance(value, str) else repr(value): value for value in values}
