"""The schema of a run before it is written: its streams, their keys, and the real types of each key's values.

A device's description of its data may differ from what it measures, and the writer believes the description. A table's
column has one type, and a text or list in a column of numbers loses a run.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: documents have no types, numpy's are incomplete

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from event_model import unpack_event_page

from agent_service.archive.metadata import storable_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent_service.protocols import Document

_EXACT: Final = 2**53
_INT64: Final = 2**63
_UINT64: Final = 2**64


class Kind(StrEnum):
    """How the values of a key are kept."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    STRING = "string"
    ARRAY = "array"
    RAGGED = "ragged"
    JSON = "json"


@dataclass(slots=True)
class Values:
    """What the values of one key are, seen one by one.

    ``shape`` is that of one value, with None where it is not always the same; None for scalars.
    """

    declared: np.dtype[Any] | None = None
    types: set[type] = field(default_factory=set[type])
    scalars: bool = False
    shape: tuple[int | None, ...] | None = None
    odd: bool = False
    low: int = 0
    high: int = 0
    width: int = 1
    fits: bool = True

    def add(self, value: object) -> None:
        """Take a value in."""
        if isinstance(value, list | tuple):
            shape, flat = _layout(cast("list[object]", value))
            self._add_shape(shape)
        else:
            self.scalars = True
            flat = [value]
        types = set(map(type, flat))
        self.types |= types
        if int in types:
            whole = [value for value in flat if type(value) is int]
            self.low, self.high = min(self.low, *whole), max(self.high, *whole)
        if str in types:
            texts = [text for text in flat if isinstance(text, str)]
            self.width = max(self.width, *map(len, texts))
            self.odd = self.odd or any(storable_text(text) is not text for text in texts)
        self.fits = self.fits and self.declared is not None and types <= {int, float, bool} and self._fit(flat)

    def kind(self) -> Kind:
        """Return how they are kept, all in one way."""
        if self.odd or (self.scalars and self.shape is not None):
            return Kind.JSON
        if self.shape is None:
            return self._scalar_kind()
        if self.dtype() is None:
            return Kind.JSON
        if None not in self.shape and 0 not in self.shape:
            return Kind.ARRAY
        ragged = len(self.shape) == 1 or all(self.shape[1:])  # only the first axis changes
        return Kind.RAGGED if ragged and self.types <= {int, float} else Kind.JSON

    def dtype(self) -> str | None:
        """Return numpy's type of an array's elements; None where it has no such type."""
        if {int, float} <= self.types and not self._is_exact:
            return None
        if self.fits and self.declared is not None and self.types:
            return self.declared.str
        if self.types <= {float} or (self.types <= {int, float} and self._is_exact):
            return "<i8" if self.types == {int} else "<f8"
        if self.types == {int}:
            fits = self.low >= -_INT64 and self.high < _INT64
            return "<i8" if fits else "<u8" if self.low >= 0 and self.high < _UINT64 else None
        if self.types == {bool}:
            return "|b1"
        return f"<U{self.width}" if self.types == {str} else None

    def _scalar_kind(self) -> Kind:
        types = self.types - {type(None)}
        if types == {str} and self.types == types:
            return Kind.STRING
        if types == {bool} and self.types == types:
            return Kind.BOOLEAN
        if types == {int} and self.types == types and self.low >= -_INT64 and self.high < _INT64:
            return Kind.INTEGER
        numbers = types == {float} or (types == {int, float} and self._is_exact) or (types == {int} and self._is_exact)
        return Kind.NUMBER if numbers or not self.types else Kind.JSON

    @property
    def _is_exact(self) -> bool:
        return self.low >= -_EXACT and self.high <= _EXACT

    def _add_shape(self, shape: tuple[int | None, ...]) -> None:
        if self.shape is None:
            self.shape = shape
        elif len(shape) != len(self.shape):
            self.odd = True
        else:
            self.shape = tuple(a if a == b else None for a, b in zip(self.shape, shape, strict=True))

    def _fit(self, flat: list[Any]) -> bool:
        """Tell whether the declared type holds these numbers unchanged."""
        assert self.declared is not None  # noqa: S101 - looked at before
        types = set(map(type, flat))
        try:
            natural = np.asarray(flat)
            if (natural.dtype.kind == "b") != (self.declared.kind == "b" or not flat):
                return False
            if natural.dtype.kind not in ("iu" if types == {int} else "fiub") or types == {bool, int}:
                return False
            with np.errstate(all="ignore"):
                again = natural.astype(self.declared).astype(natural.dtype)
            return bool(np.array_equal(again, natural, equal_nan=natural.dtype.kind == "f"))
        except (ValueError, OverflowError, TypeError):
            return False


@dataclass(slots=True)
class StreamSchema:
    """A stream of a run: its keys, as its descriptors say, in order, and their values inside of its events."""

    data_keys: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, "Mapping[str, Any]"])
    values: dict[str, Values] = field(default_factory=dict[str, Values])
    unfilled: set[str] = field(default_factory=set[str])

    def add(self, doc: Mapping[str, Any]) -> None:
        """Take an event in; raises ValueError when it has data that no descriptor tells of."""
        unknown = [key for key in doc["data"] if key not in self.data_keys]
        if unknown:
            msg = f"event {doc.get('seq_num')} has data that no descriptor tells of: {', '.join(map(repr, unknown))}"
            raise ValueError(msg)
        for key, values in self.values.items():
            if is_inside(self.data_keys[key], doc, key):
                values.add(doc["data"].get(key))
            else:
                self.unfilled.add(key)


class RunSchema:
    """What is in a run, from its documents, which are read once; `ValueError` when the last one is no stop document."""

    def __init__(self, documents: Iterable[tuple[str, Document]]) -> None:
        self.streams: dict[str, StreamSchema] = {}
        by_descriptor: dict[str, StreamSchema] = {}
        name = ""
        for name, doc in documents:
            match name:
                case "descriptor":
                    stream = by_descriptor[doc["uid"]] = self.streams.setdefault(doc["name"], StreamSchema())
                    _describe(stream, doc)
                case "event" | "event_page":
                    for event in events_of(name, doc):
                        by_descriptor[event["descriptor"]].add(event)
                case _:
                    pass
        if name != "stop":
            msg = "it has no stop document"
            raise ValueError(msg)


def events_of(name: str, doc: Document) -> Iterator[Mapping[str, Any]]:
    """Yield the events in an event or a page of them."""
    if name == "event":
        yield doc
    else:
        yield from cast("Iterator[Mapping[str, Any]]", unpack_event_page(cast("Any", doc)))


def is_inside(data_key: Mapping[str, Any], event: Mapping[str, Any], key: str) -> bool:
    """Tell whether the value of a key is in the event itself, not in a file beside it."""
    return "external" not in data_key or bool((event.get("filled") or {}).get(key, False))


def declared_dtype(data_key: Mapping[str, Any]) -> np.dtype[Any] | None:
    """Return the type of number that a device says an array has; None when it says none, or none that numpy knows."""
    declared = data_key.get("dtype_numpy") or data_key.get("dtype_str")
    try:
        dtype = np.dtype(declared) if isinstance(declared, str) else None
    except TypeError:
        return None
    return dtype if dtype is not None and dtype.kind in "biuf" and dtype.itemsize <= np.dtype("<f8").itemsize else None


def _describe(stream: StreamSchema, doc: Document) -> None:
    for key, data_key in doc["data_keys"].items():
        if key not in stream.data_keys:
            stream.data_keys[key] = data_key
            stream.values[key] = Values(declared=declared_dtype(data_key))


def _layout(value: list[object]) -> tuple[tuple[int | None, ...], list[object]]:
    """Return the shape of nested lists, None where it is ragged, and what is in them in one list."""
    shape: list[int | None] = [len(value)]
    flat = value
    while flat and set(map(type, flat)) <= {list, tuple}:
        lists = cast("list[list[object]]", flat)
        lengths = set(map(len, lists))
        shape.append(lengths.pop() if len(lengths) == 1 else None)
        flat = list(chain.from_iterable(lists))
    return tuple(shape), flat


def as_float(value: object) -> float:
    """Return a number; NaN for what is none."""
    return float(value) if isinstance(value, int | float) else math.nan
