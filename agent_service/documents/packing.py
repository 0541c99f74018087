"""Documents as msgpack with msgpack_numpy's arrays, as Bluesky's publishers speak it; without pickle in any corner.

msgpack_numpy pickles arrays of objects, and loads what it finds pickled: whoever can publish could run anything here.
Here such an array is written as a list, and a pickle is refused.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: msgpack_numpy has no types

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from agent_service.protocols import Document

NAMES: Final = frozenset(
    {
        "start",
        "descriptor",
        "event",
        "event_page",
        "bulk_events",
        "resource",
        "datum",
        "datum_page",
        "bulk_datum",
        "stream_resource",
        "stream_datum",
        "stop",
    }
)
"""Kinds of documents."""


_ODD_TEXT: Final = "backslashreplace"
"""How text that is no UTF-8, as a file's name may be, is written and read: a run is worth more than its spelling."""

_AS_DATETIME: Final = 3


class Unreadable(Exception):
    """Something that came is no document; says what it is, and what to do."""


def pack(value: Any) -> bytes:
    """Return a document, or ``(name, document)``, as bytes; ``serializer=pack`` for any publisher of Bluesky's."""
    import msgpack  # noqa: PLC0415 - with numpy, and the service starts without

    return cast("bytes", msgpack.packb(value, default=_plain, use_bin_type=True, unicode_errors=_ODD_TEXT))


def unpack(body: bytes) -> Any:
    """Return what was packed.

    Raises
    ------
    Unreadable
        It is a pickle, or not msgpack at all.
    """
    import msgpack  # noqa: PLC0415 - as above

    if body[:1] == b"\x80" and len(body) > 1:  # in msgpack an empty map, after which nothing follows
        raise Unreadable(
            "what it publishes is pickled, and a pickle is never loaded, for it can run anything here; publish with "
            "agent_service.plans.publish.publisher(...), or give your Publisher serializer=agent_service.plans."
            "publish.serializer"
        )
    try:
        return msgpack.unpackb(
            body, object_hook=_array, strict_map_key=False, timestamp=_AS_DATETIME, unicode_errors=_ODD_TEXT
        )
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"what it publishes is not msgpack: {type(error).__name__}") from error


def document(name: object, content: object) -> tuple[str, Document]:
    """Return name and document, as far as one can see; raises `Unreadable`."""
    if not isinstance(name, str) or name not in NAMES:
        raise Unreadable("it publishes something that is no Bluesky document")
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise Unreadable(f"it publishes a {name} document that is no mapping")
    from agent_service.models import UID_DETAIL, is_uid  # noqa: PLC0415 - a profile publishes without pydantic

    given = cast("Document", content)
    for key in ("uid",) if name == "start" else ("run_start",) if "run_start" in given else ():
        if not is_uid(given.get(key)):
            raise Unreadable(f"it publishes a {name} document whose {key} {UID_DETAIL}")
    return name, given


def _plain(value: object) -> object:
    """Return what msgpack does not know as something that it does; msgpack calls it."""
    import msgpack_numpy  # noqa: PLC0415 - as above

    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if (kind and kind not in "OVmM") or isinstance(value, complex):
        return msgpack_numpy.encode(value)
    if kind and kind in "mM":  # times, of which numpy gives nobody the bytes
        value = cast("Any", value).astype(str)
    if callable(to_list := getattr(value, "tolist", None)):
        return to_list()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    if isinstance(value, set | frozenset):
        return sorted(cast("set[object]", value), key=str)
    return str(value)


def _array(mapping: dict[Any, Any]) -> Any:
    if b"nd" in mapping:
        import msgpack_numpy  # noqa: PLC0415 - as above

        if mapping.get(b"kind") in (b"O", "O"):
            raise Unreadable("an array in what it publishes is pickled, and a pickle is never loaded")
        return msgpack_numpy.decode(mapping)
    if b"complex" in mapping:
        return complex(str(mapping[b"data"]))
    return mapping
