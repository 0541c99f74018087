"""Documents from anyone who speaks HTTP."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any, Final, cast

import event_model
from fastapi import APIRouter
from jsonschema import ValidationError

from agent_service.errors import FieldError, InvalidInput
from agent_service.models import DocumentBatch, DocumentsAnswer
from agent_service.server.routes import ServiceDep

router = APIRouter(tags=["documents"])
_VALIDATORS: Final[dict[str, Any]] = {
    name.name: cast("dict[Any, Any]", event_model.schema_validators)[name] for name in event_model.DocumentNames
}


@router.post("/documents", status_code=202)
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
    validator = _VALIDATORS.get(name)
    if validator is None:
        said = f"is no kind of document; the kinds are {', '.join(_VALIDATORS)}"
        raise InvalidInput(f"{where}.0 {said}", errors=[FieldError(f"{where}.0", said)])
    try:
        validator.validate(document)
    except ValidationError as error:
        path = ".".join([where, "1", *(str(part) for part in error.absolute_path)])
        said = f"does not fit the schema of a {name} document: {error.validator} {error.validator_value}"
        raise InvalidInput(f"{path} {said}", errors=[FieldError(path, said)]) from None
