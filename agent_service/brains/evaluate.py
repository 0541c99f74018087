"""The user's function that turns a run into outcomes: found by its name, and what it takes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from agent_service import references
from agent_service.brains.allowed_modules import ANY, Listed
from agent_service.errors import FieldError, InvalidInput, UnknownType

if TYPE_CHECKING:
    from collections.abc import Callable


Takes = Literal["run", "runs", "uid", "uids"]
"""What an evaluate function takes."""


_TAKES: Final[tuple[Takes, ...]] = get_args(Takes)


def load_function(reference: str, listed: Listed = ANY) -> Callable[..., Any]:
    """Return the function that ``module:function`` or ``live:NAME`` names. May import: call it from a worker thread.

    Raises `InvalidInput`, with the field ``evaluate``, when there is none, its module raises, or is not ``allowed``.
    """
    if references.is_live(reference):
        try:
            return references.find(reference)
        except UnknownType as error:
            raise _wrong(f"evaluate: {error.detail}") from None
    if not references.is_import(reference):
        raise _wrong(f"evaluate is {reference!r}; write it as module:function, for example my_analysis:peak_area")
    try:
        function = references.imported(reference)
    except references.Unresolved as error:
        raise _wrong(f"evaluate: {error}") from error
    if not callable(function):
        raise _wrong(f"evaluate: {reference!r} is of type {type(function).__name__}, not a function")
    listed.refuse_foreign(function, field="evaluate", reference=reference)
    return function


def takes(function: Callable[..., Any]) -> Takes:
    """Return what an evaluate function wants, by the name of its first parameter.

    ``run``: the run that counts, its documents in memory; so does a parameter of any other name. ``runs``: all that the
    plan made for the suggestion. ``uid`` and ``uids``: the same, by uid, once the catalogue holds them.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        # a builtin without a signature cannot have asked for it
        return "run"
    name = next(iter(parameters), None)
    return name if name in _TAKES else "run"


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(message, errors=[FieldError("evaluate", message)])
