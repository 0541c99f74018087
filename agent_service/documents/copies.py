"""Documents of one's own: copies that nobody else can change, in the few kinds of values that documents are made of.

Whoever emits a document may go on with what is in it: a camera fills its buffer anew, a later subscriber adds a key, a
user's metadata changes. So a document is copied before its subscriber returns, and nothing in the copy is shared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from numbers import Number
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from agent_service.protocols import Document

_FIXED: Final = frozenset({str, int, float, bool, type(None), bytes, complex})
"""Types whose values cannot change; looked up before anything else is asked of a value."""

_MAX_DEPTH: Final = 100
"""Mappings and lists inside each other; what is deeper, as in a list that holds itself, becomes its text."""


def own(document: Mapping[str, Any]) -> Document:
    """Return a copy of a document that shares nothing that can change with it; from any thread.

    Mappings become dictionaries. What has numpy's ``__array__`` (event-model takes it for an array) or a buffer becomes
    a numpy array, or nested lists where that cannot be: views, subclasses and lazy arrays too, whose values are asked
    for here. Elements that a masked array masks were not measured: they become NaN. A value of any other kind becomes
    its text, as in the spool, and so does one that raises when it is asked.

    Parameters
    ----------
    document
        The document, as it was emitted. Other mappings will do: metadata, for example.
    """
    return _dictionary(document, ())


def plain(name: str, document: Document) -> Iterator[tuple[str, Document]]:
    """Yield a document as those that the event-model project replaced it by: ``bulk_events`` and ``bulk_datum``.

    Parameters
    ----------
    name, document
        Of any kind; other kinds are yielded as they are.
    """
    if name == "bulk_events":
        for events in document.values():
            for event in events:
                yield "event", event
    elif name == "bulk_datum":
        for datum_id, kwargs in zip(document["datum_ids"], document["datum_kwarg_list"], strict=True):
            yield "datum", {"resource": document["resource"], "datum_id": datum_id, "datum_kwargs": kwargs}
    else:
        yield name, document


def _own(value: Any, above: tuple[int, ...]) -> Any:
    if len(above) > _MAX_DEPTH or id(value) in above:
        return _text(value)
    found: Any
    match value:
        case dict():
            found = _dictionary(cast("dict[Any, Any]", value), above)
        case list():
            found = _list(cast("list[Any]", value), above)
        case tuple():
            found = tuple(_list(cast("tuple[Any, ...]", value), above))
        case set() | frozenset():
            found = frozenset(cast("frozenset[Any]", value))  # what is hashable does not change
        case str() | bytes():
            found = value
        case _:
            try:
                found = _odd(value, above)
            except Exception:  # noqa: BLE001 - somebody else's code: of a device that is gone, for example
                found = _text(value)
    return found


def _dictionary(value: Mapping[Any, Any], above: tuple[int, ...]) -> dict[Any, Any]:
    found, within = dict(value), (*above, id(value))  # at once: another thread may be at it
    for key, one in found.items():
        if type(one) not in _FIXED:
            found[key] = _own(one, within)
    return found


def _list(value: Collection[Any], above: tuple[int, ...]) -> list[Any]:
    found, within = list(value), (*above, id(value))
    if not _FIXED.issuperset(map(type, found)):
        found = [one if type(one) in _FIXED else _own(one, within) for one in found]
    return found


def _odd(value: Any, above: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        return _dictionary(cast("Mapping[Any, Any]", value), above)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, Number) and not hasattr(value, "__array__"):
        return value
    copied = _array(value) if _is_array(value) else None
    if copied is not None and not copied.dtype.hasobject:
        return copied if copied.ndim else copied[()]
    if callable(to_list := getattr(value, "tolist", None)):
        return _own(to_list(), (*above, id(value)))
    return _list(cast("Collection[Any]", value), above) if isinstance(value, Collection) else _text(value)


def _is_array(value: Any) -> bool:
    """Whether it is an array as event-model understands it, or has a buffer."""
    if hasattr(value, "__array__"):
        return True
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def _array(value: Any) -> NDArray[Any] | None:
    """Return a new array with the values of another, None when it cannot be one."""
    import numpy as np  # noqa: PLC0415 - the service starts without numpy

    if type(value) is np.ndarray:
        return value if value.dtype.hasobject else value.copy()  # the one copy of a frame
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(cast("Any", value)):
        masked = cast("Any", value)
        if masked.dtype.kind not in "buif":
            return None
        return np.asarray(masked.astype(np.result_type(masked.dtype, np.float16)).filled(np.nan))
    try:
        return np.asarray(cast("Any", value)).copy()  # some give their own memory, asked for a copy or not
    except Exception:  # noqa: BLE001 - ragged, on a graphics card, of a device that is gone
        return None


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - somebody else's code
        return f"something of type {type(value).__name__}"
