"""What all models share."""

from __future__ import annotations

import functools
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Generic, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from agent_service.errors import texts
from agent_service.models.real_numbers import at_home
from agent_service.models.strict_numbers import CHECKED_BEFORE, StrictNumbers
from agent_service.models.values import checked, why_not_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator

AgentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Name of an agent: it stands in URLs, file names and start documents."""

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@=+-]{0,127}")
UID_DETAIL = "is no uid: up to 128 letters, digits and '_.:@=+-', a letter or digit first"


def is_uid(text: object) -> bool:
    """Return whether a text can be a run's uid or a part of one: it may become a file name or part of a URL."""
    return isinstance(text, str) and _UID.fullmatch(text) is not None


def _checked_uid(text: str) -> str:
    if not is_uid(text):
        raise ValueError(UID_DETAIL)
    return text


Uid = Annotated[str, AfterValidator(_checked_uid)]
"""Uid of a run."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _KeepsWhole:
    """Keeps a whole number whole; reads anything else as a float."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            _whole_or, core_schema.float_schema(allow_inf_nan=False), serialization=core_schema.simple_ser_schema("any")
        )


def _whole_or(value: Any, otherwise: ValidatorFunctionWrapHandler) -> int | float:
    if isinstance(value, bool | str | bytes):  # pydantic takes true for 1, and "1" too
        raise ValueError("is not a number")  # noqa: TRY004 - pydantic takes no TypeError
    if type(value) is not int:
        return otherwise(value)
    if (number := at_home(value)) is None:
        raise ValueError("is a whole number beyond 64 bits")
    return number


Number = Annotated[int | float, _KeepsWhole()]
"""A finite number: 3 stays 3, and 3.0 stays 3.0; in JSON Schema a number."""


class _KeepsType:
    """Lets a value stay what it is: true is not 1, 1 is not 1.0, and "1" is a text."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(checked, serialization=core_schema.simple_ser_schema("any"))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": kind} for kind in ("boolean", "integer", "number", "string")]}


Value = Annotated[bool | int | float | str, _KeepsType()]
"""An actuator's value: true or false, a whole number within 64 bits, a finite number, a text. It keeps its type."""

Ends = tuple[Finite | None, Finite | None]
"""Lowest and highest position of an actuator, in its units; None: no limit at that end."""

Point = dict[str, Value]
"""A point: actuator name to its value; a number is in the actuator's own units."""

ID_KEY = "_id"
"""Key under which a point holds the id of its suggestion."""

MAX_PREDICTED = 2500
"""Most points that a brain predicts at a time: a map of 50 by 50."""

MAX_POINTS = 1000
"""Most points of one suggest or ingest request."""

MAX_FIELDS = 200
"""Most fields of an object in a request, where its fields are known."""

MAX_NAMES = 200
"""Most names of actuators, sensors and outcomes in an object of a request."""

MAX_KEY = 1000
"""Longest key of any object in a request, in characters."""

MAX_BITS = 1023
"""Largest integer in a request, in bits: a larger one is no float."""

Name = Annotated[str, StringConstraints(max_length=256)]
"""Name of a device, an outcome or a plan."""


def _refuse_many(data: Any) -> Any:
    if _size(data) > MAX_NAMES:
        raise ValueError(f"holds more than {MAX_NAMES} names")
    return data


def _size(data: object) -> int:
    return len(cast("dict[object, object]", data)) if isinstance(data, dict) else 0


_T = TypeVar("_T")
FewNames = Annotated[_T, Field(max_length=MAX_NAMES), BeforeValidator(_refuse_many)]
"""A mapping of few names: it counts them first, while pydantic alone would first check each."""


def utcnow() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


class Request(StrictNumbers):
    """Base of what a client sends: frozen; it refuses unknown fields and whatever JSON in UTF-8 cannot hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _fits_json(cls, data: Any, info: ValidationInfo) -> Any:
        if info.context is CHECKED_BEFORE:
            return data
        if _size(data) > MAX_FIELDS:
            raise ValueError("holds more fields than there are; leave out what is not meant for it")
        refuse_unwritable(data)
        return data


class Answer(BaseModel):
    """Base of what the service answers: frozen; readers ignore unknown fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def known(cls, **values: Any) -> Self:
        """Return an instance from values of all its fields, checked before; it takes a tenth of the time."""
        made, put = cls.__new__(cls), object.__setattr__
        put(made, "__dict__", values)
        put(made, "__pydantic_fields_set__", _all_fields(cls))
        put(made, "__pydantic_extra__", None)
        put(made, "__pydantic_private__", None)
        return made


@functools.cache
def _all_fields(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


class Page(Answer, Generic[_T]):
    """A page of a list."""

    items: list[_T]
    next: str | None = None


def utf8(text: str) -> str:
    """Return ``text``, and escape what UTF-8 cannot hold: lone surrogates, from file names for example."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def refuse_unwritable(data: object) -> None:
    """Raise ValueError, saying where, if ``data`` holds what a journal or a client cannot hold.

    That is NaN, an infinity, an integer too large for a float, text that is no UTF-8, and a very long key.
    """
    left: list[object] = [data]
    while left:  # without the way there, which only an error needs: keys may be long and elements many
        value = left.pop()
        if isinstance(value, dict):
            mapping = cast("dict[object, object]", value)
            left.extend(mapping.keys())
            left.extend(mapping.values())
            wrong = any(isinstance(key, str) and len(key) > MAX_KEY for key in mapping)
        elif isinstance(value, list | tuple):
            left.extend(cast("list[object]", value))
            continue
        else:
            wrong = _why_unwritable(value) is not None
        if wrong:
            raise ValueError(_where_unwritable(data))


def _why_unwritable(value: object) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a finite number"
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return "is too large a number"
    return why_not_utf8(value) if isinstance(value, str) else None


def _where_unwritable(data: object) -> str:
    """Say what is wrong first, and where."""
    path: list[str] = []
    levels: list[Iterator[tuple[object, object]]] = [iter([("", data)])]
    while levels:
        del path[len(levels) - 1 :]
        pair = next(levels[-1], None)
        if pair is None:
            levels.pop()
            continue
        key, value = pair
        path.append(str(key))
        if isinstance(key, str) and len(key) > MAX_KEY:
            return f"{_shown(path)} is longer than a key may be ({MAX_KEY} characters)"
        if why := _why_unwritable(key) or _why_unwritable(value):
            return f"{_shown(path)} {why}"
        if isinstance(value, dict):
            levels.append(iter(cast("dict[object, object]", value).items()))
        elif isinstance(value, list | tuple):
            levels.append(iter(enumerate(cast("list[object]", value))))
    return "it cannot be written"


def _shown(path: list[str]) -> str:
    return texts.one_line(".".join(texts.cut(part, most=100) for part in path[1:]), most=300) or "it"
