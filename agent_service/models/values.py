"""Values that an actuator can have: numbers, whole numbers, texts, true and false; plain ones, whatever they come as.

Numpy's scalars and members of an enum are known by what they can do and never by import.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

from agent_service.models.real_numbers import at_home, real

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TEXT: Final = 4000
"""Longest text that an actuator may have, in characters."""


_SHOWN: Final = 60


def plain(value: object) -> bool | int | float | str | None:
    """Return ``value`` as Python's own bool, int, float or str; None when it is none of them.

    A whole number stays one, within 64 bits. An enum's member is its value. What is not finite is none, nor is a text
    that is longer than `MAX_TEXT`, or that UTF-8 cannot hold. From any thread; never raises.

    Examples
    --------
    >>> plain(True), plain(3), plain(3.0), plain("Al"), plain(None), plain(float("nan"))
    (True, 3, 3.0, 'Al', None, None)
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        text = str.__str__(value)
        return text if _why_not_text(text) is None else None
    if isinstance(value, bool):
        return value
    if getattr(getattr(value, "dtype", None), "kind", None) in ("b", "U"):
        return _of_one(value)
    number = real(value)
    return None if number is None else at_home(number)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a plain value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_settable(value: object) -> bool:
    """Return whether a plain value can be sent to a device: whatever is no float that is not finite."""
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


def same(value: object, other: object) -> bool:
    """Return whether two plain values are one: 3 and 3.0 are, True and 1 are not."""
    if is_number(value) and is_number(other):
        return value == other
    return type(value) is type(other) and value == other


def is_among(value: object, values: Iterable[object]) -> bool:
    """Return whether a plain value is one of several; see `same`."""
    return any(same(value, known) for known in values)


def shown(value: object) -> str:
    """Return a plain value as a message says it: a text in quotes, cut when it is long, and all digits of a number."""
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def text_of(value: object) -> str:
    """Return a plain value as a person reads it: a number with six digits, whatever else as `shown` has it."""
    return f"{value:.6g}" if isinstance(value, float) else shown(value)


def _why_not_text(text: str) -> str | None:
    if len(text) > MAX_TEXT:
        return f"is a text of more than {MAX_TEXT} characters"
    return why_not_utf8(text)


def why_not_utf8(text: str) -> str | None:
    """Return what keeps a text from being written in UTF-8, or None."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "is not valid Unicode (a lone surrogate)"
    return None


def checked(value: object) -> bool | int | float | str:
    """Return a value that JSON brought as an actuator can have it; raise ValueError, saying why, when none can."""
    if isinstance(value, str) and (why := _why_not_text(value)):
        raise ValueError(why)
    if type(value) is int and at_home(value) is None:
        raise ValueError("is a whole number beyond 64 bits")
    if (known := plain(value)) is None:
        raise ValueError("is no finite number, no text, and neither true nor false")
    return known


def _of_one(value: Any) -> bool | str | None:
    """Return what is in one of numpy's scalars or arrays of one element, of truth values or texts."""
    if any(length != 1 for length in getattr(value, "shape", (0,))):
        return None
    item = cast("object", value.item())
    if isinstance(item, bool):
        return item
    return item if isinstance(item, str) and _why_not_text(item) is None else None
