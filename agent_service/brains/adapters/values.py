"""Makes values of a brain or a user's function fit for the service: plain, finite, complete.

Numpy's scalars and arrays are recognised by shape, not by import.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from agent_service.brains.adapters.json_values import Unfit, json_safe
from agent_service.errors import texts
from agent_service.models import ID_KEY, BestPoint, utf8
from agent_service.models.real_numbers import at_home, real
from agent_service.models.spaces import NO_SPACE, Dimension, fitted
from agent_service.models.standard_errors import SEM_KEY, estimate, with_sems
from agent_service.models.values import is_number, plain, same

if TYPE_CHECKING:
    from pydantic import JsonValue

    from agent_service.models import Point, Value

_MISSING = object()
_TRIPLE = 3


def suggested(
    result: object, *, asked: int, actuators: Sequence[str], space: Mapping[str, Dimension] = NO_SPACE
) -> list[tuple[Point, object, dict[str, JsonValue]]]:
    """Return the points that ``suggest`` returned, each with the brain's own id of it or None, and what else it said.

    Raises `ValueError` when it is no sequence of mappings, holds more than were ``asked`` for, lacks an actuator, has a
    value that the space does not have, or the same ``_id`` twice.
    """
    points = _mappings(_listed(result), "suggest")
    if len(points) > asked:
        returned = texts.counted(len(points), "point")
        raise ValueError(f"suggest was asked for {asked} and returned {returned}; return at most that many")
    suggestions: list[tuple[Point, object, dict[str, JsonValue]]] = []
    for index, mapping in enumerate(points):
        brain_id = mapping.get(ID_KEY)
        if brain_id is not None and any(id_key(brain_id) == id_key(other) for _, other, _ in suggestions):
            raise ValueError(f"suggest returned the _id {brain_id!r} twice; make each unique")
        point = _position(mapping, actuators, space, f"point {index} of suggest")
        suggestions.append((point, brain_id, _extra(mapping, actuators)))
    return suggestions


def _listed(result: object) -> object:
    """Return the rows of a table, or the elements of an array, as a list, one row as a mapping; all else as it is.

    A NaN in a table is a value that its row lacks.
    """
    thing: Any = result
    if hasattr(thing, "columns") and hasattr(thing, "to_dict"):
        return [_without_nan(row) for row in thing.to_dict("records")]
    items: Any = _row(thing)
    if getattr(getattr(items, "dtype", None), "kind", None) == "O":
        items = items.tolist()
    return [_row(item) for item in cast("Sequence[object]", items)] if isinstance(items, list | tuple) else items


def _row(item: object) -> object:
    """Return a row of a table as a mapping, anything else as it is."""
    thing: Any = item
    return _without_nan(thing.to_dict()) if hasattr(thing, "index") and hasattr(thing, "to_dict") else thing


def _without_nan(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def id_key(brain_id: object) -> object:
    """Return what tells one ``_id`` of a brain's from another, whatever it takes for one."""
    try:
        hash(brain_id)
    except Exception:  # noqa: BLE001 - whatever an odd object raises
        try:
            return repr(brain_id)
        except Exception:  # noqa: BLE001 - too deep, for example
            return type(brain_id), id(brain_id)
    return brain_id


def best_parts(result: object) -> list[tuple[object, Mapping[str, object], Mapping[str, object]]]:
    """Return id, point and outcome of each item that ``get_best_points`` returned, or raise `ValueError`."""
    if not isinstance(result, Sequence) or isinstance(result, str):
        kind = type(result).__name__
        raise ValueError(f"get_best_points returned {kind}; return a list of (_id, point, outcome)")  # noqa: TRY004
    triples: list[tuple[object, Mapping[str, object], Mapping[str, object]]] = []
    for entry in cast("Sequence[object]", result):
        parts = list(cast("Sequence[Any]", entry)) if isinstance(entry, Sequence) else []
        if len(parts) != _TRIPLE or not all(isinstance(part, Mapping) for part in parts[1:]):
            kind = type(cast("object", entry)).__name__
            raise ValueError(
                f"get_best_points returned a list with a {kind} in it; return (_id, point, outcome) for each"
            )
        triples.append((parts[0], parts[1], parts[2]))
    return triples


def best_point(
    point: Mapping[str, object],
    outcome: Mapping[str, object],
    *,
    actuators: Sequence[str],
    suggestion_id: str | None,
    space: Mapping[str, Dimension] = NO_SPACE,
) -> BestPoint:
    """Turn a point and outcome of ``get_best_points`` into ours.

    An outcome may be a ``(value, standard error)`` pair, as Ax gives it; outcomes that are no finite number are left
    out.
    """
    wanted = [name for name in actuators if name in point] if actuators else [name for name in point if name != ID_KEY]
    positions = {name: _shown(name, point[name], space) for name in wanted}
    return BestPoint(
        id=suggestion_id,
        point={name: value for name, value in positions.items() if value is not None},
        outcome={
            str(name): float(number)
            for name, value in outcome.items()
            if name != ID_KEY and (number := real(_without_error(value))) is not None
        },
    )


def _shown(name: str, value: object, space: Mapping[str, Dimension]) -> Value | None:
    """Return a value as the space has it; as it is where it has none such, for a brain may say anything."""
    known = plain(value)
    if known is None or name not in space:
        return known if is_number(known) else None
    try:
        return space[name].fitted(known, measured=True)
    except ValueError:
        return known


def evaluated(
    result: object, *, suggestions: Sequence[Mapping[str, Any]], actuators: Sequence[str]
) -> list[dict[str, Any]]:
    """Check what an evaluate function returned, and put it in the order of ``suggestions``.

    That is a mapping of outcome name to number, ``{value, sem}`` or ``(value, sem)`` for a single suggestion, or a
    sequence of them, one for each suggestion: matched by ``_id`` where they have it, else by order. It may hold the
    suggestion's own positions. Returns numbers, and their standard errors under `SEM_KEY` where there are any. Raises
    `ValueError` when outcomes are missing, empty or no finite numbers, or one has the name of an actuator.
    """
    listed = _listed(result)
    outcomes = [cast("Mapping[str, object]", listed)] if isinstance(listed, Mapping) else _mappings(listed, "evaluate")
    if len(outcomes) != len(suggestions):
        got, returned = texts.counted(len(suggestions), "suggestion"), texts.counted(len(outcomes), "outcome")
        raise ValueError(f"evaluate got {got} and returned {returned}")
    ids = [outcome.get(ID_KEY, _MISSING) for outcome in outcomes]
    if any(each is not _MISSING for each in ids):
        wanted = [suggestion.get(ID_KEY) for suggestion in suggestions]
        if sorted(map(repr, ids)) != sorted(map(repr, wanted)):
            raise ValueError("evaluate returned an _id that is none of the suggestions', or one twice; copy them over")
        outcomes = [outcomes[ids.index(each)] for each in wanted]
    return [_outcome(outcome, suggestion, actuators) for outcome, suggestion in zip(outcomes, suggestions, strict=True)]


def _mappings(result: object, method: str) -> list[Mapping[str, object]]:
    if isinstance(result, Mapping | str | bytes) or not isinstance(result, Sequence):
        raise ValueError(f"{method} returned {_kind(cast('object', result))}; return a list of dictionaries")  # noqa: TRY004 - bad value
    items = list(cast("Sequence[object]", result))
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise ValueError(f"item {index} of {method} is {_kind(item)}; return a list of dictionaries")  # noqa: TRY004 - bad value
    return cast("list[Mapping[str, object]]", items)


def _position(
    mapping: Mapping[str, object], actuators: Sequence[str], space: Mapping[str, Dimension], where: str
) -> Point:
    given = set(mapping) - {ID_KEY}
    if missing := sorted(name for name in set(actuators) - given if name not in space or not space[name].may_lack):
        raise ValueError(f"{where} lacks {', '.join(missing)}; the agent's actuators are {', '.join(actuators)}")
    point, wrong = fitted(mapping, actuators, space)
    for name, why in wrong.items():
        if name in space:
            raise ValueError(f"{where}: {name} {why}")
    for name in actuators:
        if name in space:
            continue
        number = real(mapping[name])
        if number is None:
            raise ValueError(f"{where} has no finite number for {name}, but {_kind(mapping[name])}")
        if (settable := at_home(number)) is None:
            raise ValueError(f"{where} has a whole number beyond 64 bits for {name}, which no device takes")
        point[name] = settable
    return {name: point[name] for name in actuators if name in point}


def _extra(mapping: Mapping[str, object], actuators: Sequence[str]) -> dict[str, JsonValue]:
    """Return what a suggestion holds beside actuators and ``_id``, as JSON can hold it."""
    extra: dict[str, JsonValue] = {}
    for key, value in mapping.items():
        if key != ID_KEY and key not in actuators:
            try:
                extra[utf8(str(key))] = json_safe(value, name=str(key))
            except Unfit as error:
                extra[utf8(str(key))] = utf8(str(error))
    return extra


def _outcome(mapping: Mapping[str, object], suggestion: Mapping[str, Any], actuators: Sequence[str]) -> dict[str, Any]:
    outcome: dict[str, Any] = {}
    sems: dict[str, float | None] = {}
    for name, value in mapping.items():
        if name == ID_KEY:
            continue
        if name in actuators:
            if not same(plain(value), suggestion.get(name)):
                raise ValueError(
                    f"evaluate returned another {name} than was suggested, and {name} is an actuator; an outcome needs "
                    "another name"
                )
            continue
        if name == SEM_KEY:
            raise ValueError(f"evaluate returned an outcome named {name}; write flux as {{value: ..., sem: ...}}")
        outcome[str(name)], sems[str(name)] = _estimated(name, value)
    if not outcome:
        raise ValueError("evaluate returned no outcome; return at least one, by name")
    return with_sems(outcome, sems)


def _estimated(name: str, value: object) -> tuple[float, float | None]:
    try:
        return estimate(value, pairs=True)
    except ValueError as error:
        if isinstance(value, Mapping | tuple):
            raise ValueError(f"evaluate returned an outcome of which {name} {error}") from None  # noqa: TRY004 - a bad value
        raise ValueError(f"evaluate returned no finite number for {name}, but {_kind(value)}") from None


def _without_error(value: object) -> object:
    return cast("tuple[object, ...]", value)[0] if isinstance(value, tuple) and value else cast("object", value)


def _kind(value: object) -> str:
    return repr(value) if value is None or isinstance(value, float) else f"something of type {type(value).__name__}"
