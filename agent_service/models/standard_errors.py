"""Outcomes with a standard error: written ``{value, sem}``, and kept as a number with its error beside it.

A point holds, under `SEM_KEY`, the known standard errors of the mean of its outcomes. So whoever does not need them
finds numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from pydantic_core import CoreSchema, core_schema

from agent_service.models._base import Value
from agent_service.models.real_numbers import at_home, real
from agent_service.models.values import checked

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

SEM_KEY: Final = "_sem"
"""Key of the standard errors of a point's outcomes, by name."""

_PAIR: Final = 2


def estimate(value: object, *, pairs: bool = False) -> tuple[float, float | None]:
    """Return the value and the standard error of an outcome, None where it has none; raise ValueError, saying why.

    It is a number, or ``{"value": number, "sem": number}``; with ``pairs`` also ``(value, sem)``, as Ax has it.

    Examples
    --------
    >>> estimate(2), estimate({"value": 2.0, "sem": 0.1}), estimate((2.0, 0.1), pairs=True)
    ((2.0, None), (2.0, 0.1), (2.0, 0.1))
    """
    sem: object = None
    if isinstance(value, Mapping):
        parts = cast("Mapping[Any, object]", value)
        if "value" not in parts or set(parts) - {"value", "sem"}:
            raise ValueError("is no number; with its standard error it is written {value: ..., sem: ...}")
        value, sem = parts["value"], parts.get("sem")
    elif pairs and isinstance(value, tuple) and len(cast("tuple[object, ...]", value)) == _PAIR:
        value, sem = cast("tuple[object, object]", value)
    number, error = real(cast("object", value)), real(sem)
    if number is None or at_home(number) is None:
        raise ValueError("is not a finite number")
    if sem is not None and not (isinstance(sem, float) and math.isnan(sem)) and (error is None or error < 0):
        raise ValueError(f"has the sem {sem!r}; a standard error is a finite number of 0 or more")
    return float(number), None if error is None else float(error)


def sems_of(point: Mapping[str, Any]) -> dict[str, float]:
    """Return the standard errors in a point, by outcome."""
    sems = point.get(SEM_KEY)
    return dict(cast("Mapping[str, float]", sems)) if isinstance(sems, Mapping) else {}


def with_sems(outcome: Mapping[str, Any], sems: Mapping[str, float | None]) -> dict[str, Any]:
    """Return an outcome with those of the standard errors that are known."""
    known = {name: sem for name, sem in sems.items() if sem is not None and name in outcome}
    return {**outcome, **({SEM_KEY: known} if known else {})}


def parted(outcome: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Return an outcome as numbers, and the standard errors."""
    return {name: value for name, value in outcome.items() if name != SEM_KEY}, sems_of(outcome)


def as_written(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point as one would send it: ``{value, sem}`` where the standard error is known."""
    sems = sems_of(point)
    return {
        name: {"value": value, "sem": sems[name]} if name in sems else value
        for name, value in point.items()
        if not (name == SEM_KEY and sems)
    }


def as_pairs(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point with ``(value, sem)`` where the standard error is known."""
    sems = sems_of(point)
    return {
        name: (value, sems[name]) if name in sems else value
        for name, value in point.items()
        if not (name == SEM_KEY and sems)
    }


def errors_of_pairs(point: Mapping[str, Any]) -> dict[str, float]:
    """Return the standard errors of a point of `as_pairs`."""
    pairs = {name: cast("tuple[float, float]", value) for name, value in point.items() if isinstance(value, tuple)}
    return {name: sem for name, (_, sem) in pairs.items()}


class _KeepsEstimate:
    """A value of an actuator, or an outcome with its standard error."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _checked, serialization=core_schema.simple_ser_schema("any")
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        number = {"type": "number"}
        sem = {"anyOf": [{**number, "minimum": 0}, {"type": "null"}]}
        pair = {"type": "object", "properties": {"value": number, "sem": sem}, "required": ["value"]}
        plain = [{"type": kind} for kind in ("boolean", "integer", "number", "string")]
        return {"anyOf": [*plain, {**pair, "additionalProperties": False}]}


def _checked(value: object) -> object:
    if not isinstance(value, Mapping):
        return checked(value)
    number, sem = estimate(cast("object", value))
    return {"value": number, "sem": sem}


Measured = Annotated[Value | dict[str, Any], _KeepsEstimate()]
"""What a point that was measured holds: a value of an actuator, an outcome, or ``{value, sem}``."""
