"""Names near a name that is not there, for messages that say what was meant."""

from __future__ import annotations

import difflib
import types
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN: Final = 3


def near(name: str, there: Iterable[str]) -> str:
    """Return ``did you mean 'this' or 'that'? ``, or nothing when nothing there is near; a sentence may follow.

    Examples
    --------
    >>> near("mirorr_x", ["mirror_x", "flux"])
    "did you mean 'mirror_x'? "
    >>> near("x", ["flux"])
    ''
    """
    close = difflib.get_close_matches(name, list(there), n=_SHOWN)
    return f"did you mean {' or '.join(map(repr, close))}? " if close else ""


def near_key(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """Return what `near` says of a key that a model does not know, by its place in the model's input.

    That is the ``loc`` of pydantic's error: names of fields and indices of lists, the unknown key last.
    """
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = None if field is None else model_in(field.annotation)
        if inner is None:
            return ""
        model = inner
    return near(str(location[-1]), model.model_fields).rstrip()


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field holds, by itself, or in a list or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, tuple, Union, types.UnionType):
        return next((model for argument in get_args(annotation) if (model := model_in(argument)) is not None), None)
    return None
