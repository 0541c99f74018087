"""Points as the libraries of tables have them: a row each, whole numbers in steps, and choices as texts.

BayBE and BoFire know categories by texts only, so in their tables a text stands for each value of a choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.brains.adapters.library_type import library
from agent_service.errors import InvalidConfig
from agent_service.models.spaces import Choice, FloatRange, IntRange
from agent_service.models.values import same

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent_service.brains.adapters.problem import Problem
    from agent_service.models import Point, Value
    from agent_service.models.spaces import Dimension


class Frames:
    """Turns points of a problem into tables, and rows of tables into points.

    Where the library's space is ``ours``, whole numbers are counted from the low end of their range, for its floats
    hold no large ones; and what has one value only is in no table, for it takes no such dimension.
    """

    def __init__(self, problem: Problem, *, ours: bool = True) -> None:
        self._low = {
            name: (dimension.low or 0) * ours
            for name, dimension in problem.space.items()
            if isinstance(dimension, IntRange)
        }
        self._names = list(varied(problem)) if ours else problem.names
        self._fixed = {name: _only(dimension) for name, dimension in problem.space.items() if name not in self._names}
        self._pandas = library("pandas")
        self._problem = problem
        self._values = {name: labels(dimension) for name, dimension in problem.space.items()}

    def of(self, rows: Sequence[Mapping[str, Any]], *, outcomes: Iterable[str] = ()) -> Any:
        """Return a table of positions, and of these outcomes."""
        known = [{**self._labelled(row), **{name: float(row[name]) for name in outcomes}} for row in rows]
        return self._pandas.DataFrame(known)

    def points(self, table: Any) -> list[Point]:
        """Return the positions in a table."""
        return [self._point(row) for row in table[self._names].to_dict("records")]

    def _labelled(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._cell(name, row[name]) for name in self._names}

    def _cell(self, name: str, value: Any) -> Any:
        if known := self._values[name]:
            return next(label for label, other in known.items() if same(other, value))
        return float(value - self._low.get(name, 0))

    def _point(self, row: Mapping[str, Any]) -> Point:
        values = {**self._fixed, **{name: self._value(name, row[name]) for name in self._names}}
        point = self._problem.position(values)
        if point is None:
            raise ValueError(f"its library suggested {values}, which is no point of the space")
        return point

    def _value(self, name: str, cell: Any) -> Any:
        if known := self._values[name]:
            return known[cell]
        return round(cell) + self._low[name] if name in self._low else cell


def varied(problem: Problem) -> dict[str, Dimension]:
    """Return the dimensions that have more than one value; raise `InvalidConfig` when there is none."""
    free = {name: dimension for name, dimension in problem.space.items() if _only(dimension) is None}
    if not free:
        raise InvalidConfig("space: there is one point in it, and nothing to look for")
    return free


def _only(dimension: Dimension) -> Value | None:
    if isinstance(dimension, FloatRange | IntRange):
        return dimension.low if dimension.low == dimension.high else None
    return dimension.values[0] if isinstance(dimension, Choice) and len(dimension.values) == 1 else None


def steps(dimension: IntRange) -> range:
    """Return a range of whole numbers, counted from its low end."""
    assert dimension.low is not None and dimension.high is not None  # noqa: S101, PT018 - `Problem.of` saw to that
    return range(dimension.high - dimension.low + 1)


def labels(dimension: Dimension) -> dict[str, Value]:
    """Return the texts that stand for the values of a choice, each by another one; none for a range."""
    if isinstance(dimension, FloatRange | IntRange):
        return {}
    values: list[Value] = list(dimension.values) if isinstance(dimension, Choice) else [False, True]
    texts = {value for value in values if isinstance(value, str)}
    return {_label(value, texts): value for value in values}


def _label(value: Value, texts: set[str]) -> str:
    if isinstance(value, str):
        return value
    label = repr(value)
    while label in texts:
        label = f"({label})"
    return label
