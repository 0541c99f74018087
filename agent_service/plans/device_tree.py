"""Devices of a namespace with all that is in them: containers, components, pseudo axes, children.

ophyd and ophyd-async are known by shape and not imported. Nothing is connected and nothing is made: a lazy component of
ophyd counts by the name that it will have, until somebody asks for it.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
from __future__ import annotations

import dataclasses
import io
from collections import UserDict, deque
from dataclasses import dataclass
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_IN_A_CONTAINER: Final = 10_000
"""A container with more in it holds data, not devices, and is passed over."""

_TWINS: Final = (
    ".ab_det", ".det_with_conf", ".det_with_count_time", ".direct_img.img", ".direct_img_list", ".identical_det",
    ".motor_empty_hints1", ".motor_empty_hints2", ".motor_no_hints1", ".motor_no_hints2", ".motor_no_pos",
)  # fmt: skip
"""Variables of ophyd.sim whose devices bear the name of another one there, on purpose: they are found by path only, or
``from ophyd.sim import *`` would make ``motor`` and ``det`` ambiguous."""

_MAPPINGS: Final = (dict, UserDict, MappingProxyType)
# not any Mapping: to iterate over a catalogue or a file may read all of it
_SEQUENCES: Final = (list, tuple, deque)
_CONTAINERS: Final = (*_MAPPINGS, *_SEQUENCES, set, frozenset, SimpleNamespace)


@dataclass(frozen=True, slots=True)
class Node:
    """A device, what it calls itself, and the way to it from the namespace, with dots: ``stage.x``, ``motors.0``.

    ``device`` is None for a lazy component that nobody has asked for yet; `at` asks for it. A ``part`` is inside
    another device.
    """

    path: str
    name: str
    device: object | None
    part: bool = False


def is_device(value: object, *, named: bool = True) -> bool:
    """Return whether a value can be read or set, as Bluesky has it, and (if ``named``) has a name."""
    # asked of the class: a namespace may hold proxies and lazy modules that answer to any attribute
    kind = type(value)
    if isinstance(value, type | io.IOBase) or not (hasattr(kind, "read") or hasattr(kind, "set")):
        return False
    return bool(own_name(value)) or not named


def own_name(device: object) -> str:
    """Return what a device calls itself; empty when it has no name."""
    return str(getattr(device, "name", "") or "")


def setpoints(device: object) -> set[str]:
    """Return the process variables that a move of a device writes, as ophyd and ophyd-async name them."""
    parts = dict(_children(device))
    return {
        name.removesuffix(".VAL")
        for signal in (device, parts.get("user_setpoint"), parts.get("setpoint"))
        if (name := _written(signal))
    }


def _written(signal: object) -> str | None:
    """Return the process variable that a signal writes, if it is one of EPICS or the like."""
    try:
        name, source = getattr(signal, "setpoint_pvname", None), getattr(signal, "source", None)
    except Exception:  # noqa: BLE001 - whatever a device raises that is not connected
        return None
    if isinstance(name, str):
        return name
    scheme, separator, name = source.removeprefix("mock+").partition("://") if isinstance(source, str) else ("", "", "")
    return (name if scheme == "ca" else f"{scheme}://{name}") if separator and scheme != "soft" else None


def nodes(names: Mapping[str, object]) -> Iterator[Node]:
    """Return every device of a namespace that can be reached, once, those on top first in each branch.

    A child that bears the name of what it belongs to, as the readback of a motor does, is that one's, and left out.
    """
    seen: set[int] = set()
    # devices before containers, so that a device is known by its shortest way
    ordered = sorted(names.items(), key=lambda item: not is_device(item[1]))
    for path, value in ordered:
        yield from _within(path, value, frozenset(), seen)


def at(names: Mapping[str, object], path: str) -> object | None:
    """Return what is at a path, None when nothing is.

    It asks lazy components for themselves, which may connect them, and raises whatever one raises that cannot be made.
    """
    return _follow(names, path.split("."))


def _within(path: str, value: Any, above: frozenset[str], seen: set[int]) -> Iterator[Node]:
    if id(value) in seen or isinstance(value, str | bytes | int | float | type | ModuleType) or value is None:
        return
    if is_device(value) or _has_parts(type(value)):
        seen.add(id(value))
        if f".{path}".endswith(_TWINS) and type(value).__module__ == "ophyd.sim":
            return
        name = own_name(value)
        if is_device(value) and name not in above:
            yield Node(path, name, value, part=bool(above))
        inside = above | {name} if is_device(value) else above
        for key, child in _children(value):
            yield from _within(f"{path}.{key}", child, inside, seen)
        yield from _lazy(path, value, inside)
    elif isinstance(value, _CONTAINERS) or dataclasses.is_dataclass(value):
        seen.add(id(value))
        for key, child in _items(value):
            yield from _within(f"{path}.{key}", child, above, seen)
    else:
        for key, child in _attributes(value):  # somebody's own object that holds devices
            if is_device(child):
                yield from _within(f"{path}.{key}", child, above, seen)


def _items(container: Any) -> list[tuple[str, object]]:
    """Return what is in a container, each with the key that a path has for it."""
    if isinstance(container, SimpleNamespace) or dataclasses.is_dataclass(container):
        return _attributes(container)
    if len(container) > MOST_IN_A_CONTAINER:
        return []
    if isinstance(container, _MAPPINGS):
        return [(str(key), child) for key, child in list(container.items())]
    if fields := cast("tuple[str, ...]", getattr(type(container), "_fields", ())):  # a named tuple
        return list(zip(fields, container, strict=False))
    return [(str(index), child) for index, child in enumerate(list(container))]


def _attributes(holder: object) -> list[tuple[str, object]]:
    """Return the public attributes that an object holds, without running a property."""
    attributes = cast("dict[Any, object]", getattr(holder, "__dict__", {}))
    return [(key, child) for key, child in list(attributes.items()) if isinstance(key, str) and not key.startswith("_")]


def _has_parts(kind: type) -> bool:
    """Return whether it is a device of ophyd or ophyd-async, even if it can be neither read nor set by itself."""
    return hasattr(kind, "_sig_attrs") or (hasattr(kind, "set_name") and callable(getattr(kind, "children", None)))


def _children(device: object) -> list[tuple[str, object]]:
    """Return the parts of a device that are there: ophyd's components, ophyd-async's children, a plain class's own."""
    kind = type(device)
    if hasattr(kind, "_sig_attrs"):  # ophyd; its own `_signals` are the components that have been made
        made = cast("dict[str, object]", getattr(device, "_signals", {}))
        return list(made.items())
    if _has_parts(kind):  # ophyd-async
        return list(cast("Any", device).children())
    return [(key, child) for key, child in _attributes(device) if is_device(child) and key != "parent"]


def _lazy(path: str, device: object, above: frozenset[str]) -> Iterator[Node]:
    """Return ophyd's components that have not been made, with the names that they will have."""
    made = cast("dict[str, object]", getattr(device, "_signals", {}))
    separator = str(getattr(device, "_child_name_separator", "_"))
    unmade = [key for key in getattr(type(device), "_sig_attrs", {}) if key not in made]
    for key in unmade:
        yield from _unmade(f"{path}.{key}", type(device), key, own_name(device), separator, above)


def _unmade(  # noqa: PLR0913, PLR0917 - the way so far
    path: str, kind: type, key: str, parent: str, separator: str, above: frozenset[str]
) -> Iterator[Node]:
    component: Any = getattr(kind, "_sig_attrs")[key].cls  # noqa: B009 - pyright knows nothing of it
    name = f"{parent}{separator}{key}"
    if hasattr(component, "read") or hasattr(component, "set"):
        yield Node(path, name, None, part=True)
    for inner in getattr(component, "_sig_attrs", {}):
        yield from _unmade(f"{path}.{inner}", component, inner, name, separator, above)


def _follow(whole: Any, rest: list[str]) -> object | None:
    if not rest:
        return whole
    for length in range(len(rest), 0, -1):  # a key of a mapping may hold dots itself
        child = _child(whole, ".".join(rest[:length]))
        if child is not None and (part := _follow(child, rest[length:])) is not None:
            return part
    return None


def _child(whole: Any, key: str) -> object | None:
    if isinstance(whole, _MAPPINGS):
        return (
            whole.get(key) if key in whole else next((child for k, child in list(whole.items()) if str(k) == key), None)
        )
    if isinstance(whole, _SEQUENCES) and key.isdecimal():
        return whole[int(key)] if int(key) < len(whole) else None
    if isinstance(whole, ModuleType):
        return vars(whole).get(key)
    if hasattr(type(whole), "set_name") and _has_parts(type(whole)):  # ophyd-async: a vector's have numbers for names
        part = next((child for name, child in cast("Any", whole).children() if name == key), None)
        if part is not None:
            return part
    public = key.isidentifier() and not key.startswith("_") and key not in {"parent", "root"}
    return getattr(whole, key, None) if public else None
