"""Columns for names, and names for columns: a table takes fewer names than devices have.

SQL's columns know no upper case, and PostgreSQL's end at 63 bytes. A column whose name is another one says so in its
data key, so that it can be undone.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

TRUE_NAME: Final = "true_name"
"""Field of a data key, or of a stream, whose name is not that of its column: the name."""

_LONGEST: Final = 60
"""Bytes of a column's name: with ``ts_`` before it the 63 that PostgreSQL takes."""

_STEM: Final = 50
_HASH: Final = 8
_SAFE: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9_]|-(?!-))*")
_TAKEN: Final = frozenset({"time", "seq_num", "internal"} | {"rowid", "oid", "tableoid"})
_SYSTEM: Final = frozenset({"xmin", "xmax", "cmin", "cmax", "ctid"})
_WITH_A_MEANING: Final = re.compile(r"ts_.*|dim_int_\d+|dim_rgd_\d+|internal_\d+", re.IGNORECASE | re.DOTALL)


def columns_for(names: Iterable[str], *, taken: Collection[str] = ()) -> dict[str, str]:
    """Return a column for each name that SQL and Tiled take, whatever it is; ``taken`` are other columns, lower case.

    A name that can be a column is its own. Another one becomes its letters and digits with a part of its hash behind
    them, so that it is the same column in each run; so does a name that another one equals but for the case, if it has
    upper case itself. Source: `tiled.adapters.sql`, which refuses quotes and brackets in a column's name, and keeps it
    in lower case; `event_model` refuses dots and slashes.

    Examples
    --------
    >>> columns_for(["x", "2theta"])
    {'x': 'x', '2theta': 'x_2theta_5fc21043'}
    """
    distinct = list(dict.fromkeys(names))
    reserved = {*taken, *_TAKEN, *_SYSTEM}
    alike = Counter(name.lower() for name in distinct)
    kept = [
        name for name in distinct if _is_column(name, reserved) and (alike[name.lower()] == 1 or name == name.lower())
    ]
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
