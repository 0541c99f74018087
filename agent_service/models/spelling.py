"""Names near a name that is not there, for messages that say what was meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin

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
    *place, key = location
    _, models = _walk(model, place)
    return near(str(key), dict.fromkeys(name for model in models for name in model.model_fields)).rstrip()


def place_of(model: type[BaseModel], location: Sequence[int | str]) -> list[int | str]:
    """Return where in a model's input a place is, without the kinds that pydantic puts into it for a choice of models.

    Examples
    --------
    >>> from agent_service.service.config import ServiceConfig
    >>> place_of(ServiceConfig, ["sources", 0, "zmq", "address"])
    ['sources', 0, 'address']
    """
    return _walk(model, location)[0]


def _walk(model: type[BaseModel], location: Sequence[int | str]) -> tuple[list[int | str], list[type[BaseModel]]]:
    """Return a place without kinds, and the models that may stand there; none where no model does."""
    place: list[int | str] = []
    models, keyed = [model], False
    for part in location:
        chosen = [model for model in models if part in _kinds(model)] if len(models) > 1 else []
        if chosen:
            models = chosen
            continue
        place.append(part)
        if isinstance(part, int):
            continue
        if keyed:  # the name of one of a mapping
            keyed = False
            continue
        field = next((model.model_fields[part] for model in models if part in model.model_fields), None)
        models = [] if field is None else _models_in(field.annotation)
        keyed = field is not None and get_origin(field.annotation) is dict
    return place, models


def _kinds(model: type[BaseModel]) -> tuple[Any, ...]:
    kind = model.model_fields.get("kind")
    return () if kind is None else get_args(kind.annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inner = get_args(annotation)
    if get_origin(annotation) is dict:
        inner = inner[1:]
    elif get_origin(annotation) is Annotated:
        inner = inner[:1]
    return [model for annotation in inner for model in _models_in(annotation)]


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field holds, by itself, or in a list or a union."""
    return next(iter(_models_in(annotation)), None)
