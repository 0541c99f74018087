"""Documents from anyone who speaks HTTP."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
from typing import Any, cast

from fastapi import APIRouter

from agent_service.errors import FieldError, InvalidInput
from agent_service.models import DocumentBatch, DocumentsAnswer
from agent_service.server.auth import CONTROL
from agent_service.server.routes import ServiceDep

router = APIRouter(tags=["documents"])


@functools.cache
def _validators() -> dict[str, Any]:
    """Return a validator for each kind of document."""
    import event_model  # noqa: PLC0415 - with jsonschema it takes up to two seconds, and few send documents

    known = cast("dict[Any, Any]", event_model.schema_validators)
    return {name.name: known[name] for name in event_model.DocumentNames}


@router.post("/documents", status_code=202, dependencies=[CONTROL])
def documents(service: ServiceDep, batch: DocumentBatch) -> DocumentsAnswer:
    """Take Bluesky documents, in the order of their emission; a run sent twice is taken once.

    202 means that they are taken in and on their way to the disk. Whoever must be sure across a kill of the service
    sends the run again after a restart.
    """
    for i, (name, document) in enumerate(batch.documents):
        _check(f"documents.{i}", name, document)
    service.take_documents(batch.documents)
    return DocumentsAnswer(accepted=len(batch.documents))


def _check(where: str, name: str, document: dict[str, Any]) -> None:
    from jsonschema import ValidationError  # noqa: PLC0415 - see `_validators`

    validators = _validators()
    validator = validators.get(name)
    if validator is None:
        said = f"is no kind of document; the kinds are {', '.join(validators)}"
        raise InvalidInput(f"{where}.0 {said}", errors=[FieldError(f"{where}.0", said)])
    try:
        validator.validate(document)
    except ValidationError as error:
        path = ".".join([where, "1", *(str(part) for part in error.absolute_path)])
        said = f"does not fit the schema of a {name} document: {error.validator} {error.validator_value}"
        raise InvalidInput(f"{path} {said}", errors=[FieldError(path, said)]) from None
