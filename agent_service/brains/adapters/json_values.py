"""Converts a brain's reports, variables and results of methods to what JSON can hold.

Each value keeps its meaning, or is refused in one line that names the entry and its type (`Unfit`). Numpy, pandas and
the like are recognised by what they can do, not by import.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence, Set as AbstractSet
from contextlib import contextmanager
from datetime import date, time, timedelta
from enum import Enum
from numbers import Number
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

from pydantic import BaseModel

from agent_service.models import utf8
from agent_service.models.real_numbers import real

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from pydantic import JsonValue

MAX_DEPTH: Final = 64
"""How many levels there may be; readers of JSON have limits, too."""

MAX_VALUES: Final = 1_000_000
"""How many values one thing may hold; a text counts as one for each `_TEXT` characters of it."""

_TEXT: Final = 32
_LONGEST_REPR: Final = 10_000
_WAYS: Final = ("tolist", "to_list", "to_numpy")
"""How arrays of one library or another give what is in them."""

_NO_TIME: Final = -(1 << 63)
"""Numpy's mark for a time that is none."""

_NO_VALUE: Final = frozenset({"NAType", "NaTType"})
"""Types of pandas's marks for what is missing."""


class Unfit(ValueError):
    """A value that JSON cannot hold; says which entry it is, and why."""


def json_safe(value: object, *, name: str, strict: bool = False) -> JsonValue:
    """Return ``value``, which a message calls ``name``, as JSON can hold it.

    Arrays, sets and tuples become lists, numpy's scalars Python's, tables and dataclasses mappings, dates ISO 8601,
    durations seconds, an enum's member its value, a path its text, keys text; NaN, the infinities and what is missing
    become null; anything else the text by which Python shows it. Raises `Unfit` when it holds itself, is too deep or
    too large, or, if ``strict``, holds anything else.
    """
    return _asked(lambda: _Writer(strict=strict).write(value, name), name)


class _Writer:
    """Writes one value; counts, and knows what it is inside of."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._inside: list[int] = []
        self._count = 0

    def write(self, value: object, path: str) -> JsonValue:
        """Return one value as JSON has it; ``path`` is what to call it."""
        self._spend(1, path)
        result: JsonValue
        match value:
            case None | bool():
                result = value
            case Enum():
                result = self.write(value.value, path)
            case str():
                result = self._text(str.__str__(value), path)
            case int() | float():
                result = _number(value, path)
            case _ if type(value).__name__ in _NO_VALUE:
                result = None
            case date() | time():
                result = value.isoformat()
            case timedelta():
                result = value.total_seconds()
            case UUID() | os.PathLike():
                result = self._text(str(cast("object", value)), path)
            case _:
                with self._entered(value, path):
                    result = self._compound(value, path)
        return result

    def _compound(self, value: Any, path: str) -> JsonValue:
        result: JsonValue
        if isinstance(value, BaseModel):
            result = self.write(_asked(value.model_dump, path), path)
        elif (entries := _entries(value)) is not None:
            result = self._mapping(entries, path)
        elif isinstance(value, Sequence | AbstractSet) and not isinstance(value, bytes | bytearray | memoryview):
            result = self._list(cast("Iterable[object]", value), path)
        elif any(hasattr(cast("object", value), way) for way in _WAYS):
            result = self._array(value, path)
        elif not isinstance(value, complex) and (isinstance(value, Number) or real(cast("object", value)) is not None):
            result = _number(value, path)
        else:
            result = self._other(cast("object", value), path)
        return result

    def _mapping(self, entries: Iterable[tuple[object, object]], path: str) -> JsonValue:
        result: dict[str, JsonValue] = {}
        for key, entry in entries:
            name = utf8(str(key.value if isinstance(key, Enum) else key))
            if name in result:
                raise Unfit(f"{path} has two entries that JSON would call {name!r}")
            self._spend(len(name) // _TEXT, path)
            result[name] = self.write(entry, f"{path}.{name}")
        return result

    def _list(self, entries: Iterable[object], path: str) -> JsonValue:
        return [self.write(entry, f"{path}.{i}") for i, entry in enumerate(entries)]

    def _array(self, value: Any, path: str) -> JsonValue:
        kind, shape = getattr(getattr(value, "dtype", None), "kind", None), getattr(value, "shape", None)
        if isinstance(size := getattr(value, "size", None), int):
            self._spend(size, path)  # before it is made into a list
        result: JsonValue
        if kind == "V" and value.dtype.names and shape != ():
            result = self._list(_asked(lambda: list(value), path), path)
        elif kind == "M":
            result = _mapped(
                _asked(lambda: value.astype(str).tolist(), path), lambda text: None if text == "NaT" else text
            )
        elif kind == "m":
            result = _mapped(_asked(lambda: value.astype("timedelta64[ns]").astype("int64").tolist(), path), _seconds)
        elif shape == () and kind == "f":  # a long double's own tolist is that long double
            result = _number(value, path)
        elif shape == () and kind == "c":
            result = self._other(value, path)
        else:
            result = self.write(_asked(lambda: _listed(value), path), path)
        return result

    def _other(self, value: object, path: str) -> JsonValue:
        if self._strict:
            raise Unfit(f"{path} is a {type(value).__name__}, which JSON cannot hold")
        text = str(_asked(lambda: repr(value), path))
        return self._text(text if len(text) <= _LONGEST_REPR else text[: _LONGEST_REPR - 1] + "…", path)

    def _text(self, text: str, path: str) -> str:
        self._spend(len(text) // _TEXT, path)
        return utf8(text)

    @contextmanager
    def _entered(self, value: object, path: str) -> Generator[None]:
        if id(value) in self._inside:
            raise Unfit(f"{_short(path)} is the {type(value).__name__} that it is in: it holds itself")
        if len(self._inside) >= MAX_DEPTH:
            raise Unfit(f"{_short(path)} is a {type(value).__name__} nested deeper than {MAX_DEPTH} levels")
        self._inside.append(id(value))
        try:
            yield
        finally:
            self._inside.pop()

    def _spend(self, count: int, path: str) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            raise Unfit(f"{path.partition('.')[0]} is too large, with more than {MAX_VALUES:,} values")


def _number(value: Any, path: str) -> int | float | None:
    number = real(value)
    if number is not None:
        return number
    if value != value or value in (math.inf, -math.inf):  # noqa: PLR0124 - NaN, of whatever type
        return None
    raise Unfit(f"{_short(path)} is a {type(value).__name__} that is larger than a number may be")


def _entries(value: object) -> Iterable[tuple[object, object]] | None:
    """Return the entries of what has names for them: a mapping, a dataclass, a table, a record of numpy's."""
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value).items()
    thing, names = cast("Any", value), getattr(getattr(value, "dtype", None), "names", None)
    if hasattr(thing, "__dataclass_fields__") and not isinstance(value, type):
        return ((field.name, getattr(thing, field.name)) for field in dataclasses.fields(thing))
    if hasattr(thing, "columns") and hasattr(thing, "iloc"):
        return ((name, thing.iloc[:, i]) for i, name in enumerate(thing.columns))
    if names and getattr(thing, "shape", None) == ():
        return ((name, thing[name]) for name in names)
    return None


def _listed(value: Any) -> Any:
    way = next(way for way in _WAYS if hasattr(value, way))
    values = getattr(value, way)()
    return values.tolist() if way == "to_numpy" else values


def _mapped(values: Any, of: Callable[[Any], Any]) -> Any:
    """Return nested lists with a function of what is in them."""
    return [_mapped(each, of) for each in cast("list[Any]", values)] if isinstance(values, list) else of(values)


def _seconds(nanoseconds: int) -> float | None:
    return None if nanoseconds == _NO_TIME else nanoseconds / 1e9


def _asked(ask: Any, path: str) -> Any:
    """Return what a value says when it is asked for what is in it; whatever it raises makes it unfit."""
    try:
        return ask()
    except Unfit:
        raise
    except Exception as error:
        message = " ".join(str(error).split())[:200]
        raise Unfit(f"{_short(path)} cannot be read: {type(error).__name__}: {utf8(message)}") from error


def _short(path: str) -> str:
    """Return a path that fits into a line."""
    most = 80
    return path if len(path) <= most else f"{path[: most // 2]}…{path[-most // 2 :]}"
