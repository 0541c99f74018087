"""A run's documents from the catalogue as they were measured: what `stored_documents` changed, undone."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: documents have no types

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from agent_service.archive.columns import TRUE_NAME, names_of
from agent_service.archive.metadata import exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

AS_MEASURED: Final = "as_measured"
"""Field of a data key that was changed to what its values are: what the field was; None stands for no such field."""

STORED_AS: Final = "stored_as"
"""Field of a data key whose values are kept in another form: ``json``, as text."""

TRUE_OBJECT: Final = "true_object"
"""Field of a data key whose device has a name that metadata cannot hold as a key: the name."""


def restored(documents: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield a run's documents from the catalogue as they were measured; each keeps its class."""
    columns: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    for name, doc in documents:
        match name:
            case "descriptor":
                columns[doc["uid"]] = exact(doc)["data_keys"]
                names.update(names_of(columns[doc["uid"]]))
                yield name, type(doc)(descriptor_restored(doc))
            case "event":
                yield name, type(doc)(_event(doc, columns.get(doc["descriptor"], {})))
            case "stream_resource":
                yield name, type(doc)({**doc, "data_key": names.get(doc["data_key"], doc["data_key"])})
            case _:
                yield name, type(doc)(exact(doc))


def descriptor_restored(doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return a descriptor, or the metadata of a stream, under the names that it had."""
    plain = exact(doc)
    data_keys: dict[str, Any] = plain.get("data_keys", {})
    names = names_of(data_keys)
    owned: dict[str, list[str]] = {}
    for owner, columns in plain.get("object_keys", {}).items():
        for column in columns:
            owned.setdefault(data_keys.get(column, {}).get(TRUE_OBJECT, owner), []).append(
                str(names.get(column, column))
            )
    if "object_keys" in plain:
        plain["object_keys"] = owned
    plain["data_keys"] = {names[column]: _data_key(data_key) for column, data_key in data_keys.items()}
    for hint in (plain.get("hints") or {}).values():
        if isinstance(hint, dict) and "fields" in hint:
            hint["fields"] = [names.get(field, field) for field in hint["fields"]]
    true_name = plain.pop(TRUE_NAME, None)
    if true_name is not None and "name" in plain:
        plain["name"] = true_name
    return plain


def value_restored(value: Any, data_key: Mapping[str, Any]) -> Any:
    """Return a value as it was measured."""
    return json.loads(value) if data_key.get(STORED_AS) == "json" and isinstance(value, str) else value


def _event(doc: Mapping[str, Any], data_keys: Mapping[str, Any]) -> dict[str, Any]:
    names = names_of(data_keys)
    data = {names.get(key, key): value_restored(value, data_keys.get(key, {})) for key, value in doc["data"].items()}
    stamps = {names.get(key, key): value for key, value in doc["timestamps"].items()}
    return {**doc, "data": data, "timestamps": stamps}


def _data_key(data_key: Mapping[str, Any]) -> dict[str, Any]:
    ours = (TRUE_NAME, TRUE_OBJECT, AS_MEASURED, STORED_AS)
    plain = {key: value for key, value in data_key.items() if key not in ours}
    if TRUE_OBJECT in data_key:
        plain["object_name"] = data_key[TRUE_OBJECT]
    for key, value in data_key.get(AS_MEASURED, {}).items():
        plain[key] = value
        if value is None:
            del plain[key]
    return plain
