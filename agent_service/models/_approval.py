"""When a person approves suggestions: ``auto``, ``required``, or the first so many."""

from __future__ import annotations

import math
import re
from typing import Annotated, Final

from pydantic import AfterValidator, WithJsonSchema

_WRITTEN: Final = r"^(auto|required|first [1-9][0-9]{0,5})$"


def _written_so(text: str) -> str:
    if not re.match(_WRITTEN, text):
        raise ValueError('must be "auto", "required", or "first N", as "first 3"')
    return text


Approval = Annotated[
    str,
    AfterValidator(_written_so),
    WithJsonSchema({"type": "string", "pattern": _WRITTEN, "examples": ["auto", "required", "first 3"]}),
]
"""``auto``: nobody approves; ``required``: a person approves each suggestion; ``first N``: N of them, then nobody."""


def by_hand(approval: str) -> float:
    """Return how many suggestions a person approves before later ones are approved at once.

    Examples
    --------
    >>> by_hand("auto"), by_hand("first 3"), by_hand("required")
    (0, 3.0, inf)
    """
    if approval in ("auto", "required"):
        return math.inf if approval == "required" else 0
    return float(approval.removeprefix("first "))
