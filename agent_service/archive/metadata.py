"""A document as metadata of the catalogue, and back: what metadata do not take unchanged goes beside it."""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.archive.columns import columns_for

if TYPE_CHECKING:
    from collections.abc import Mapping

EXACT: Final = "exact_values"
"""Field of a document with values that metadata cannot hold: pairs of a path and the value as JSON's text."""

_WHOLE: Final = 2**53 - 1
"""The writer cuts whole numbers, floats too, down to this."""

_LARGEST: Final = 1.7976e308


def storable(doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document whose values metadata can hold, with the true ones of the others in `EXACT`.

    Source: `bluesky_tiled_plugins.utils.truncate_json_overflow`, which changes numbers without a word; the schemas of
    `event_model`, which take no dot and no slash in a key; JSON as Tiled writes it, which has no NaN.

    Examples
    --------
    >>> storable({"uid": "u", "flux": 1e20})
    {'uid': 'u', 'flux': 9007199254740991, 'exact_values': [[['flux'], '1e+20']]}
    """
    exact: list[list[Any]] = []
    plain = cast("dict[str, Any]", _plain(dict(doc), [], exact))
    return {**plain, EXACT: exact} if exact else plain


def exact(doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with the values in it that metadata could not hold. `storable` undone."""
    plain: dict[str, Any] = copy.deepcopy(dict(doc))
    for path, text in plain.pop(EXACT, ()):
        value = json.loads(text)
        if not path:
            plain = value
            continue
        place: Any = plain
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
    return plain


def _plain(value: object, path: list[str | int], exact: list[list[Any]]) -> object:
    match value:
        case dict():
            fields = cast("dict[str, object]", value)
            if all(_is_key(key) for key in fields):
                return {key: _plain(item, [*path, key], exact) for key, item in fields.items()}
            exact.append([path, json.dumps(fields)])
            columns = columns_for(fields)
            return {columns[key]: _plain(item, [], []) for key, item in fields.items()}
        case list() | tuple():
            items = cast("list[object]", value)
            return [_plain(item, [*path, i], exact) for i, item in enumerate(items)]
        case bool() | None:
            return value
        case int() | float():
            held = _number(value)
        case str():
            held = storable_text(value)
        case _:
            return value
    if held is not value:
        exact.append([path, json.dumps(value)])
    return held


def _number(value: float) -> float | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return math.copysign(_LARGEST, value)
    if value % 1 == 0 and abs(value) > _WHOLE:
        return _WHOLE if value > 0 else -_WHOLE
    return value


def _is_key(key: str) -> bool:
    return bool(key) and "." not in key and "/" not in key and storable_text(key) is key


def storable_text(text: str) -> str:
    """Return a text itself if every database takes it, else one without halves of characters and PostgreSQL's NUL."""
    held = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return text if held == text else held
