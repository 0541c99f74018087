"""Columns for names, and names for columns: how a run is kept in the catalogue, and how it is read as it was measured.

Tables take fewer names than devices have (SQL's columns know no upper case, PostgreSQL's end at 63 bytes), and metadata
take fewer numbers than documents have. What is changed for the catalogue says so in the metadata, in the fields below,
so that it can be undone: `restored` does that for documents.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: documents have no types

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

TRUE_NAME: Final = "true_name"
"""Field of a data key, or of a stream, whose name is not that of its column: the name."""

AS_MEASURED: Final = "as_measured"
"""Field of a data key that was changed to what its values are: what the field was; None stands for no such field."""

STORED_AS: Final = "stored_as"
"""Field of a data key whose values are kept in another form: ``json``, as text."""

TRUE_OBJECT: Final = "true_object"
"""Field of a data key whose device has a name that metadata cannot hold as a key: the name."""

EXACT: Final = "exact_values"
"""Field of a document with values that metadata cannot hold: pairs of a path and the value as JSON's text."""

_LONGEST: Final = 60
"""Bytes of a column's name: with ``ts_`` before it the 63 that PostgreSQL takes."""

_STEM: Final = 50
_HASH: Final = 8
_SAFE: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9_]|-(?!-))*")
_TAKEN: Final = frozenset({"time", "seq_num", "internal"} | {"rowid", "oid", "tableoid"})
_SYSTEM: Final = frozenset({"xmin", "xmax", "cmin", "cmax", "ctid"})
_WITH_A_MEANING: Final = re.compile(r"ts_.*|dim_int_\d+|dim_rgd_\d+|internal_\d+", re.IGNORECASE | re.DOTALL)


def columns_for(names: Iterable[str], *, taken: Collection[str] = ()) -> dict[str, str]:
    """Return a column for each name that SQL and Tiled take, whatever the name is.

    A name that can be a column is its own. Another one becomes its letters and digits with a part of its hash behind
    them, so that it is the same column in each run; so does a name that another one equals but for the case, if it has
    upper case itself.

    Parameters
    ----------
    names
        The names that stand side by side in a table; their order does not matter.
    taken
        Columns that are there beside them, in lower case.

    Source: `tiled.adapters.sql`, which refuses quotes and brackets in a column's name, and keeps it in lower case;
    `event_model` refuses dots and slashes.

    Examples
    --------
    >>> columns_for(["x", "2theta"])
    {'x': 'x', '2theta': 'x_2theta_5fc21043'}
    """
    distinct = list(dict.fromkeys(names))
    reserved = {*taken, *_TAKEN, *_SYSTEM}
    alike = Counter(name.lower() for name in distinct)
    kept = [one for one in distinct if _is_column(one, reserved) and (alike[one.lower()] == 1 or one == one.lower())]
    used = {*reserved, *(name.lower() for name in kept)}
    columns = {name: name for name in kept}
    for name in sorted(set(distinct) - columns.keys()):
        columns[name] = _made(name, used)
        used.add(columns[name])
    return {name: columns[name] for name in distinct}


def _is_column(name: str, reserved: Collection[str]) -> bool:
    if len(name) > _LONGEST or not _SAFE.fullmatch(name):
        return False
    return name.lower() not in reserved and not _WITH_A_MEANING.fullmatch(name)


def _made(name: str, used: Collection[str]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:_STEM].strip("_")
    if not stem[:1].isalpha() or stem.startswith("ts_"):
        stem = f"x_{stem}".rstrip("_")[:_STEM]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    length = _HASH
    while (column := f"{stem[: _LONGEST - 1 - length]}_{digest[:length]}") in used:
        length += 1
    return column


def names_of(data_keys: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of each column: the key that the document had.

    A column keeps its own where the name is that of another column: one of an agent's stream beside an actuator's.
    """
    own = {column for column, data_key in data_keys.items() if TRUE_NAME not in data_key}
    names = {column: str(data_key.get(TRUE_NAME, column)) for column, data_key in data_keys.items()}
    return {column: column if name in own else name for column, name in names.items()}


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
    for owner, found in plain.get("object_keys", {}).items():
        for column in found:
            owned.setdefault(data_keys.get(column, {}).get(TRUE_OBJECT, owner), []).append(
                str(names.get(column, column))
            )
    if "object_keys" in plain:
        plain["object_keys"] = owned
    plain["data_keys"] = {names[column]: _data_key(one) for column, one in data_keys.items()}
    for hint in (plain.get("hints") or {}).values():
        if isinstance(hint, dict) and "fields" in hint:
            hint["fields"] = [names.get(one, one) for one in hint["fields"]]
    true_name = plain.pop(TRUE_NAME, None)
    if true_name is not None and "name" in plain:
        plain["name"] = true_name
    return plain


def exact(doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with the values in it that metadata could not hold. `agent_service.archive.storable` undone."""
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
