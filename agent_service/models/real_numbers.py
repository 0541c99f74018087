"""Real numbers, whatever they come as: Python's, numpy's, an array of one element, a tensor, a decimal.

Known by what they can do and never by import, for the service starts without numpy. What carries a unit or an
imaginary part, a date, a text or a truth value is no number here.
"""

from __future__ import annotations

import math
import operator
from numbers import Complex, Integral, Real
from typing import Any, Final, cast

_WHOLE: Final = range(-(1 << 63), 1 << 63)
"""Whole numbers that travel as they are: what 64 bits hold. JSON may hold more; no device, file or catalogue does."""

_REAL_KINDS: Final = "iufO"
"""Kinds of a numpy dtype that may hold a real number: signed, unsigned, floating, and objects, which are looked at."""

_NESTED: Final = 8
"""How deep a number may be wrapped into arrays of one element; an array of objects may hold itself."""


def real(value: object) -> int | float | None:
    """Return ``value`` as a plain int or float, None when it is no finite real number.

    A whole number stays one. Arrays of one element count, of whatever shape. From any thread; never raises.

    Examples
    --------
    >>> real(3), real(3.0), real("3"), real(True), real(float("nan"))
    (3, 3.0, None, None, None)
    """
    if type(value) is float:  # most are
        return value if math.isfinite(value) else None
    try:
        number = _unwrapped(value)
        return number if number is not None and math.isfinite(number) else None
    except Exception:  # noqa: BLE001 - whatever an odd object raises when it is asked for its value
        return None


def at_home(value: int | float) -> int | float | None:  # noqa: PYI041 - both are meant, and both come back
    """Return a number as it can travel: a whole number beyond 64 bits as the float it equals, None if there is none."""
    if isinstance(value, float) or value in _WHOLE:
        return value
    nearest = real(value)
    return None if nearest is None or float(nearest) != value else float(nearest)


def as_before(value: int | float, before: object) -> int | float:  # noqa: PYI041 - as above
    """Return a number that somebody sent again as what it was before, where it can be: whole, or not.

    JavaScript has one kind of number: what it was sent as 3.0 it sends back as 3, and 3 as 3.0 some libraries do.
    """
    if isinstance(before, float):
        return float(value)
    if isinstance(before, int) and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _unwrapped(value: Any) -> int | float | None:
    for _ in range(_NESTED):
        if value is None or isinstance(value, bool | str | bytes | bytearray):
            return None
        shape = getattr(value, "shape", None)
        if not isinstance(shape, tuple) or isinstance(value, int | float):
            return _plain(value)
        if any(length != 1 for length in cast("tuple[object, ...]", shape)) or _is_masked(value):
            return None
        kind = getattr(getattr(value, "dtype", None), "kind", None)
        if kind is not None and kind not in _REAL_KINDS:
            return None
        if shape == () and kind in ("i", "u", "f"):  # numpy's own item() of a long double is that long double again
            return float(value) if kind == "f" else int(value)
        value = value.item() if callable(getattr(value, "item", None)) else value.__array__()
    return None


def _plain(value: Any) -> int | float | None:
    """Return what one thing without a shape is; it may raise whatever it does when it is asked."""
    if isinstance(value, int | Integral):
        return int(value)
    if isinstance(value, Complex) and not isinstance(value, Real):
        return None
    cls = cast("type[Any]", type(value))  # of the class: a quantity with a unit lends out what its magnitude has
    if hasattr(cls, "__index__"):
        return operator.index(cast("Any", value))
    return float(value) if hasattr(cls, "__float__") else None


def _is_masked(value: object) -> bool:
    """Whether it is a masked array whose one element is masked: then there is no value."""
    mask = getattr(value, "mask", None)
    return mask is not None and not callable(mask) and bool(mask.any() if hasattr(mask, "any") else mask)
