"""What all wire models share."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from agent_service.number import at_home

AgentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Name of an agent: it stands in URLs, file names and start documents."""

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@=+-]{0,127}")
UID_SAID = "is no uid: up to 128 letters, digits and '_.:@=+-', a letter or digit first"


def is_uid(text: object) -> bool:
    """Return whether a text can be the uid of a run or a part of one: it may become a file name, or part of a URL."""
    return isinstance(text, str) and _UID.fullmatch(text) is not None


def _checked_uid(text: str) -> str:
    if not is_uid(text):
        raise ValueError(UID_SAID)
    return text


Uid = Annotated[str, AfterValidator(_checked_uid)]
"""Uid of a run."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _KeepsWhole:
    """Lets a whole number stay one; anything else is what a float would be."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            _whole_or, core_schema.float_schema(allow_inf_nan=False), serialization=core_schema.simple_ser_schema("any")
        )


def _whole_or(value: Any, otherwise: ValidatorFunctionWrapHandler) -> int | float:
    if type(value) is not int:
        return otherwise(value)
    if (found := at_home(value)) is None:
        raise ValueError("is a whole number beyond 64 bits")
    return found


Number = Annotated[int | float, _KeepsWhole()]
"""A finite number: 3 stays 3, and 3.0 stays 3.0; in JSON Schema a number."""

Ends = tuple[Finite | None, Finite | None]
"""Lowest and highest position of an actuator, in its units; None: no limit at that end."""

Point = dict[str, Number]
"""A point: actuator name to position, in the actuator's own units."""

ID_KEY = "_id"
"""Key under which a point on the wire carries the id of its suggestion."""

MAX_POINTS = 1000
"""Most points that one suggest or ingest request may carry."""


def utcnow() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


class Request(BaseModel):
    """Base of what a client sends: frozen, unknown fields refused, and nothing in it that JSON in UTF-8 cannot hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _fits_json(cls, data: Any) -> Any:
        refuse_unwritable(data)
        return data


class Answer(BaseModel):
    """Base of what the service answers: frozen, unknown fields ignored by the reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def utf8(text: str) -> str:
    """Return ``text`` with what UTF-8 cannot hold (lone surrogates, from file names for example) escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def refuse_unwritable(data: object) -> None:
    """Raise ValueError, saying where, when in ``data`` is NaN, an infinity, or text that is no UTF-8."""
    left: list[tuple[str, object]] = [("", data)]
    while left:
        path, one = left.pop()
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"{path[1:] or 'it'} is not a finite number")
        if isinstance(one, str):
            try:
                one.encode("utf-8")
            except UnicodeEncodeError:
                raise ValueError(f"{utf8(path[1:]) or 'it'} is not valid Unicode (a lone surrogate)") from None
        elif isinstance(one, dict):
            for key, value in cast("dict[object, object]", one).items():
                left += [(f"{path}.{key}", key), (f"{path}.{key}", value)]
        elif isinstance(one, list | tuple):
            left += [(f"{path}.{i}", value) for i, value in enumerate(cast("list[object]", one))]


def open_ends(guardrails: object) -> object:
    """Return guardrails as they were written, with None for an infinite end of ``bounds``: TOML has no other word."""
    written = cast("dict[str, Any]", guardrails) if isinstance(guardrails, dict) else {}
    if not isinstance(bounds := written.get("bounds"), dict):
        return cast("object", guardrails)
    settled = {name: _ends(pair) for name, pair in cast("dict[str, Any]", bounds).items()}
    return {**written, "bounds": settled}


def _ends(pair: Any) -> Any:
    if not isinstance(pair, list | tuple) or len(cast("list[Any]", pair)) != len(_OUTWARDS):
        return cast("Any", pair)
    ends = zip(cast("list[Any]", pair), _OUTWARDS, strict=True)
    return [None if isinstance(end, float) and end == outwards else end for end, outwards in ends]


_OUTWARDS: Final = (-math.inf, math.inf)
