"""True and false are no numbers: pydantic takes them for 1 and 0, and a person who wrote one meant something else."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, cast, get_args, get_origin

from pydantic import BaseModel, ValidationInfo, model_validator

CHECKED_BEFORE: Final = object()
"""Context of a validation of what this program wrote: what nobody can have written since is not looked for again."""

_PLAIN: Final = frozenset({int, float, str, type(None), type(...)})


class StrictNumbers(BaseModel):
    """Base of what people write: refuses true and false where a number belongs.

    Examples
    --------
    >>> class Loop(StrictNumbers):
    ...     max_runs: int | None = None
    >>> Loop(max_runs=3).max_runs
    3
    """

    @model_validator(mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, data: Any, info: ValidationInfo) -> Any:
        if info.context is CHECKED_BEFORE:
            return data
        for name, value in cast("dict[str, Any]", data).items() if isinstance(data, dict) else ():
            field = cls.model_fields.get(name)
            if field is not None and holds_switch(value) and wants_numbers(field.annotation):
                raise ValueError(f"{name} must be a number, not true or false")
        return cast("Any", data)


def wants_numbers(annotation: Any) -> bool:
    """Return whether what is annotated so takes numbers, and neither true nor false nor anything that may be either."""
    try:
        return _wants_numbers(annotation)
    except TypeError:  # an annotation that cannot be hashed
        return False


@functools.cache
def _wants_numbers(annotation: Any) -> bool:
    leaves = set(_leaves(annotation))
    return bool(leaves & {int, float}) and leaves <= _PLAIN


def _leaves(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from map(type, get_args(annotation))
        return
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        inner = inner[:1]
    if not inner:
        yield annotation
    for part in inner:
        yield from _leaves(part)


def holds_switch(value: Any) -> bool:
    """Return whether a value is true or false, or has one in it."""
    if isinstance(value, bool):
        return True
    if isinstance(value, Mapping):
        return any(map(holds_switch, cast("Mapping[Any, Any]", value).values()))
    return isinstance(value, list | tuple) and any(map(holds_switch, cast("list[Any]", value)))
