"""From what pydantic refused, and from any error of ours, to what a client is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_service import errors
from agent_service.errors import MAX_ERRORS, MAX_FIELD, FieldError, texts
from agent_service.models import Problem, ProblemField
from agent_service.models.spelling import near_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import (
        BaseModel,
        ValidationError,
    )
    from pydantic_core import ErrorDetails


_SAID: Final = {
    "extra_forbidden": "is not a known key here",
    "missing": "is missing",
    # the only pattern there is: the name of an agent
    "string_pattern_mismatch": "may hold up to 64 letters, digits, '_', '.' and '-', and begins with a letter or digit",
    "finite_number": "is not a finite number",
    "json_invalid": "is not valid JSON",
}
"""Words of ours for the errors that people make most; pydantic's for the others."""


def field_errors(
    errors: Sequence[ErrorDetails], *, drop: int = 0, model: type[BaseModel] | None = None
) -> list[FieldError]:
    """Turn pydantic's errors into ours: a dotted path and a message, without the input.

    Parameters
    ----------
    errors
        As `pydantic.ValidationError.errors` gives them.
    drop
        How many leading parts of each location to leave out (FastAPI puts ``body`` there).
    model
        What refused the input, so that a key it does not know is answered with one that is near.
    """
    found: list[FieldError] = []
    for error in errors[:MAX_ERRORS]:
        path = ".".join(texts.cut(str(part), most=MAX_FIELD) for part in error["loc"][drop:])
        said = _SAID.get(error["type"]) or error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden" and model is not None and (hint := near_key(model, error["loc"][drop:])):
            said = f"{said}; {hint}"
        found.append(FieldError(path, said))
    return found


def validation_errors(error: ValidationError, model: type[BaseModel] | None = None) -> list[FieldError]:
    """Return what a model of ours refused, as `field_errors` has it."""
    return field_errors(error.errors(include_url=False, include_input=False, include_context=False), model=model)


def sentence(found: Sequence[FieldError]) -> str:
    """Put errors of fields into one line; an error of the whole input has no field to name."""
    return "; ".join(f"{one.field}: {one.message}" if one.field else one.message for one in found)


def described(error: errors.ServiceError, *, request_id: str | None, status: int | None = None) -> Problem:
    """Return an error as a problem."""
    return Problem(
        type=f"urn:agent-service:problem:{error.code}",
        title=error.title,
        status=status or error.status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
        errors=[ProblemField(field=one.field, message=one.message) for one in error.errors],
        legal=list(error.legal),
        traceback=error.traceback if isinstance(error, errors.AgentFault) else None,
    )


def unforeseen(request_id: str | None) -> errors.ServiceError:
    """Return what a client may know of a bug of ours, which is in the log."""
    said = "the service failed unexpectedly; its log has the details under this request id"
    return errors.ServiceError(said if request_id else "the service failed unexpectedly; its log has the details")
