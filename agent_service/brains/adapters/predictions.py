"""What a brain's ``predict`` and ``acquisition`` returned, made fit for the service: columns of finite numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from agent_service.models.real_numbers import real

if TYPE_CHECKING:
    from collections.abc import Sequence

Columns = dict[str, tuple[float, ...]]
"""Outcome to a number for each point."""

_PAIR = 2


def predictions(result: object, n_points: int, names: Mapping[str, str]) -> tuple[Columns, Columns]:
    """Return means and standard deviations by outcome, in the service's ``names``; none when ``result`` is empty.

    ``result`` has a mapping of outcome to ``(mean, std)`` for each of the points. Raises `ValueError` when it has not.
    """
    rows = _rows(result, n_points, "predict", "one mapping of outcome to (mean, std) for each point")
    if not rows:
        return {}, {}
    mean: dict[str, list[float]] = {}
    std: dict[str, list[float]] = {}
    for index, row in enumerate(rows):
        belief = cast("Mapping[str, Any]", row if isinstance(row, Mapping) else {})
        if not belief or (mean and belief.keys() != mean.keys()):
            raise ValueError(f"predict returned for point {index} not what it returned for the others: {_kind(row)}")
        for outcome, pair in belief.items():
            if not hasattr(pair, "__len__") or len(pair) != _PAIR:
                raise ValueError(f"predict returned {_kind(pair)} for {outcome}; return (mean, std)")
            mean.setdefault(outcome, []).append(_number(pair[0], f"the mean of {outcome}"))
            std.setdefault(outcome, []).append(_number(pair[1], f"the std of {outcome}"))
    if negative := [outcome for outcome, values in std.items() if min(values) < 0.0]:
        raise ValueError(f"predict returned a negative std for {', '.join(negative)}")
    return _columns(mean, names), _columns(std, names)


def numbers(result: object, n_points: int, method: str) -> tuple[float, ...] | None:
    """Return a number for each point, None when ``result`` is empty; raise `ValueError` when it is something else."""
    rows = _rows(result, n_points, method, "one number for each point")
    return tuple(_number(row, f"what {method} returned") for row in rows) or None


def _rows(result: object, n_points: int, method: str, wanted: str) -> Sequence[Any]:
    listed = hasattr(result, "__len__") and not isinstance(result, str | bytes | Mapping)
    rows = cast("Sequence[Any]", result if listed else ())
    if result is not None and (not listed or len(rows) not in (0, n_points)):
        raise ValueError(f"{method} returned {_kind(result)} for {n_points} points; return {wanted}")
    return rows


def _columns(values: Mapping[str, Sequence[float]], names: Mapping[str, str]) -> Columns:
    return {names.get(outcome, outcome): tuple(column) for outcome, column in values.items()}


def _number(value: object, what: str) -> float:
    number = real(value)
    if number is None:
        raise ValueError(f"{what} is {value!r}, which is no finite number")
    return float(number)


def _kind(thing: Any) -> str:
    length = f" of {len(thing)}" if hasattr(thing, "__len__") else ""
    return f"{type(thing).__name__}{length}"
