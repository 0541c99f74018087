"""Copies of documents that nobody else can change, in the few kinds of values that documents are made of.

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

_IMMUTABLE: Final = frozenset({str, int, float, bool, type(None), bytes, complex})
"""Types whose values cannot change; looked up before anything else is asked of a value."""

_MAX_DEPTH: Final = 100
"""Mappings and lists inside each other; what is deeper, as in a list that holds itself, becomes its text."""


def deep_copy(document: Mapping[str, Any]) -> Document:
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
    return _copy_mapping(document, ())


def unpack_bulk(name: str, document: Document) -> Iterator[tuple[str, Document]]:
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


def _copy(value: Any, above: tuple[int, ...]) -> Any:
    if len(above) > _MAX_DEPTH or id(value) in above:
        return _text(value)
    copied: Any
    match value:
        case dict():
            copied = _copy_mapping(cast("dict[Any, Any]", value), above)
        case list():
            copied = _copy_items(cast("list[Any]", value), above)
        case tuple():
            copied = tuple(_copy_items(cast("tuple[Any, ...]", value), above))
        case set() | frozenset():
            copied = frozenset(cast("frozenset[Any]", value))  # what is hashable does not change
        case str() | bytes():
            copied = value
        case _:
            try:
                copied = _copy_other(value, above)
            except Exception:  # noqa: BLE001 - somebody else's code: of a device that is gone, for example
                copied = _text(value)
    return copied


def _copy_mapping(value: Mapping[Any, Any], above: tuple[int, ...]) -> dict[Any, Any]:
    copied, within = dict(value), (*above, id(value))  # at once: another thread may be at it
    for key, item in copied.items():
        if type(item) not in _IMMUTABLE:
            copied[key] = _copy(item, within)
    return copied


def _copy_items(value: Collection[Any], above: tuple[int, ...]) -> list[Any]:
    copied, within = list(value), (*above, id(value))
    if not _IMMUTABLE.issuperset(map(type, copied)):
        copied = [item if type(item) in _IMMUTABLE else _copy(item, within) for item in copied]
    return copied


def _copy_other(value: Any, above: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        return _copy_mapping(cast("Mapping[Any, Any]", value), above)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, Number) and not hasattr(value, "__array__"):
        return value
    copied = _array(value) if _is_array(value) else None
    if copied is not None and not copied.dtype.hasobject:
        return copied if copied.ndim else copied[()]
    if callable(to_list := getattr(value, "tolist", None)):
        return _copy(to_list(), (*above, id(value)))
    return _copy_items(cast("Collection[Any]", value), above) if isinstance(value, Collection) else _text(value)


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
