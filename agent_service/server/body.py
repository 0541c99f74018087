"""What a request's body may hold, found out from its bytes: what is made of them may take hundreds of times as much.

A list of empty objects takes 3 bytes an element as text and 70 in memory, and what is wrong with an element some 1000.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_service.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from starlette.types import Message, Receive

MAX_DEPTH: Final = 64
"""How deep lists and objects of a body may be nested."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many values a body may hold: in all, and those of them that are lists and objects."""

    values: int
    containers: int


LIMITS: Final = Limits(values=100_000, containers=100_000)
"""What the body of any request may hold."""

OF_DOCUMENTS: Final = Limits(values=2_500_000, containers=200_000)
"""What a batch of documents may hold: there are arrays in them, which cost little by value."""

# a text that does not end is none either, and is gone through once
_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def refuse_oversized(body: bytes, limits: Limits) -> None:
    """Raise `TooLarge` or `InvalidInput` when a body holds more than may be; whether it is JSON, its parser says."""
    if not json.detect_encoding(body).startswith("utf-8"):  # the parser would take it
        raise InvalidInput("the body is not in UTF-8, as JSON is; send it in UTF-8")
    if _opened(body) <= MAX_DEPTH and _values(body) <= limits.values:  # as nearly all are, whatever stands in texts
        return
    bare = _TEXT.sub(b"", body)
    if (values := _values(bare)) > limits.values:
        raise TooLarge(f"the body holds {values} values, and may hold {limits.values}; send it in smaller parts")
    if (containers := _opened(bare)) > limits.containers:
        raise TooLarge(
            f"the body holds {containers} lists and objects, and may hold {limits.containers}; send it in smaller parts"
        )
    brackets = bare.translate(None, delete=_NO_BRACKET)
    if max(itertools.accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise InvalidInput(f"the body is nested deeper than {MAX_DEPTH} lists and objects; send it flatter")


def again(message: Message, receive: Receive) -> Receive:
    """Return what gives a message that was read out again, and then the rest."""
    messages = [message]

    async def give() -> Message:
        return messages.pop() if messages else await receive()

    return give


def _opened(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def _values(body: bytes) -> int:
    return body.count(b",") + _opened(body) + 1
