"""A run's documents as the catalogue stores them: columns for the names, one type for a key, arrays as arrays.

What is changed says so in the data keys, so that `restored_documents.restored` gives back what was measured.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: documents have no types

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from agent_service.archive.columns import TRUE_NAME, columns_for
from agent_service.archive.metadata import storable
from agent_service.archive.restored_documents import AS_MEASURED, STORED_AS, TRUE_OBJECT
from agent_service.archive.run_schema import Kind, StreamSchema, Values, as_float, events_of, is_inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent_service.archive.run_schema import RunSchema
    from agent_service.protocols import Document

_NUMPY_TYPE: Final = re.compile(r"[|<>][tbiufcmMOSUV][0-9]+")


def stored(documents: Iterable[tuple[str, Document]], schema: RunSchema) -> Iterator[tuple[str, Document]]:
    """Yield the documents of a run, in order, as the catalogue stores them."""
    run = _Run(schema)
    for name, doc in documents:
        match name:
            case "start" | "stop":
                yield name, storable(doc)
            case "descriptor":
                yield name, storable(run.descriptor(doc))
            case "event" | "event_page":
                for event in events_of(name, doc):
                    yield "event", run.event(event)
            case "stream_resource":
                key = doc.get("data_key", "")
                yield name, {**doc, "data_key": run.outside.get(key, key)}
            case _:
                yield name, doc


class _Run:
    """A run's names and types."""

    def __init__(self, schema: RunSchema) -> None:
        self._streams = schema.streams
        self._nodes = columns_for(schema.streams, taken=("streams",))
        names = _names(schema.streams)
        columns = columns_for([*(key for _, key in names), *names.values()])
        self.outside = {key: columns[key] for _, key in names}
        self._columns = {
            name: {key: columns[names[name, key]] for key in stream.data_keys}
            for name, stream in schema.streams.items()
        }
        self._kinds = {
            name: {key: values.kind() for key, values in stream.values.items()}
            for name, stream in schema.streams.items()
        }
        self._data_keys = {name: _data_keys(stream, self._columns[name]) for name, stream in schema.streams.items()}
        self._stream_of: dict[str, str] = {}

    def descriptor(self, doc: Document) -> Document:
        stream = doc["name"]
        self._stream_of[doc["uid"]] = stream
        columns = self._columns[stream]
        data_keys = self._data_keys[stream]
        owners = {
            key: str(data_key["object_name"]) for key, data_key in doc["data_keys"].items() if "object_name" in data_key
        }
        owners |= {key: owner for owner, keys in (doc.get("object_keys") or {}).items() for key in keys}
        safe = columns_for(owners.values())
        for key, owner in owners.items():
            data_key = data_keys.get(columns.get(key, ""), {})
            data_key["object_name"] = safe[owner]
            if safe[owner] != owner:
                data_key[TRUE_OBJECT] = owner
        new = {**doc, "name": self._nodes[stream], "data_keys": data_keys}
        if doc.get("hints"):
            new["hints"] = {owner: _hint(hint, columns) for owner, hint in doc["hints"].items()}
        if "object_keys" in doc:
            new["object_keys"] = {
                safe[owner]: [columns[key] for key in keys if key in columns]
                for owner, keys in doc["object_keys"].items()
                if owner in safe
            }
        return new if new["name"] == stream else {**new, TRUE_NAME: stream}

    def event(self, doc: Mapping[str, Any]) -> Document:
        """Return an event with every key of its stream in it, for the first row says which columns there are."""
        name = self._stream_of[doc["descriptor"]]
        stream, columns = self._streams[name], self._columns[name]
        data: dict[str, Any] = {}
        stamps: dict[str, float] = {}
        filled: dict[str, bool] = {}
        for key, column in columns.items():
            outside = not is_inside(stream.data_keys[key], doc, key)
            if outside and key not in doc["data"]:
                continue
            value = doc["data"].get(key)
            data[column] = value if outside or _is_mixed(stream, key) else _value(value, self._kinds[name][key])
            stamps[column] = as_float((doc.get("timestamps") or {}).get(key))
            if "external" in stream.data_keys[key]:
                filled[column] = not outside
        return {**doc, "time": float(doc["time"]), "data": data, "timestamps": stamps, "filled": filled}


def _hint(hint: Any, columns: Mapping[str, str]) -> Any:
    return {**hint, "fields": [columns.get(field, field) for field in hint["fields"]]} if "fields" in hint else hint


def _is_mixed(stream: StreamSchema, key: str) -> bool:
    """Tell whether the values of a key are now inside of the events and now in files."""
    return "external" in stream.data_keys[key] and key in stream.unfilled


def _value(value: object, kind: Kind) -> object:
    match kind:
        case Kind.JSON:
            return json.dumps(value)
        case Kind.NUMBER:
            return as_float(value)
        case _:
            return value


def _names(streams: Mapping[str, StreamSchema]) -> dict[tuple[str, str], str]:
    """Return, by stream and key, what to name a column after: the key, or the key and the stream.

    The writer knows one type for a key of a run: a key that is another thing in a second stream has a column of its
    own there. That of a file keeps its own, for what tells of the file does not say of which stream it is.
    """
    types: dict[str, object] = {}
    names: dict[tuple[str, str], str] = {}
    for name, stream in streams.items():
        for key, data_key in stream.data_keys.items():
            names[name, key] = key
            if "external" in data_key:
                types[key] = "a file"
    for name, stream in streams.items():
        for key, values in stream.values.items():
            kind = (values.kind(), values.shape, values.dtype())
            if "external" not in stream.data_keys[key] and types.setdefault(key, kind) != kind:
                names[name, key] = f"{key} of {name}"
    return names


def _data_keys(stream: StreamSchema, columns: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the data keys of a stream by their columns, true to what the values are."""
    data_keys: dict[str, dict[str, Any]] = {}
    for key, declared in stream.data_keys.items():
        data_key = dict(declared)
        values = stream.values[key]
        seen = values.scalars or values.shape is not None
        if seen and not _is_mixed(stream, key):
            data_key = _corrected(data_key, values)
        if columns[key] != key:
            data_key[TRUE_NAME] = key
        data_keys[columns[key]] = data_key
    return data_keys


def _corrected(declared: dict[str, Any], values: Values) -> dict[str, Any]:
    """Return a data key that says what its values are; what it said before is in `AS_MEASURED`."""
    kind = values.kind()
    changed: dict[str, Any] = {"dtype_str": None, "dtype_descr": None}
    if "external" in declared:
        changed["external"] = None
    match kind:
        case Kind.ARRAY | Kind.RAGGED:
            shape = [None, *(values.shape or ())[1:]] if kind is Kind.RAGGED else list(values.shape or ())
            changed |= {"dtype": "array", "shape": shape, "dtype_numpy": values.dtype()}
        case Kind.JSON:
            changed |= {"dtype": "string", "shape": [], "dtype_numpy": None}
        case _:
            changed["shape"] = []
            if not _says(declared, kind):
                changed["dtype"] = str(kind)
            if not _says(declared, kind) or not _NUMPY_TYPE.search(str(declared.get("dtype_numpy", "|b1"))):
                changed["dtype_numpy"] = None
    old = {key: declared.get(key) for key, value in changed.items() if declared.get(key) != value}
    if "dtype" in old:
        old["dtype_numpy"] = declared.get("dtype_numpy")  # the writer makes one of our dtype
    data_key = {**declared, **changed}
    data_key = {key: value for key, value in data_key.items() if key not in changed or value is not None}
    if kind is Kind.JSON:
        data_key[STORED_AS] = "json"
    return {**data_key, AS_MEASURED: old} if old else data_key


def _says(declared: Mapping[str, Any], kind: Kind) -> bool:
    """Tell whether a data key says of scalars what they are; a whole number may pass for a number, and back."""
    numbers = ("number", "integer")
    return declared.get("dtype") in (numbers if str(kind) in numbers else (str(kind),))
