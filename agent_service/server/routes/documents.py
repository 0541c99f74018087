"""Documents that come over HTTP."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
from typing import Any, Final, cast

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool

from agent_service.documents.run_of_document import uids_in
from agent_service.errors import FieldError, InvalidInput
from agent_service.models import UID_DETAIL, DocumentBatch, DocumentsAnswer, is_uid
from agent_service.server.auth import CONTROL, KeyDep
from agent_service.server.routes import ServiceDep

router = APIRouter(tags=["documents"])

_LONGEST_ID: Final = 200
"""Longest id of a suggestion, also of another service's, in a start document."""


@functools.cache
def _validators() -> dict[str, Any]:
    """Return a validator for each kind of document."""
    import event_model  # noqa: PLC0415 - with jsonschema it takes up to two seconds, and few send documents

    known = cast("dict[Any, Any]", event_model.schema_validators)
    return {name.name: known[name] for name in event_model.DocumentNames}


@router.post("/documents", status_code=202, dependencies=[CONTROL])
async def documents(service: ServiceDep, key: KeyDep, batch: DocumentBatch) -> DocumentsAnswer:
    """Take Bluesky documents, in the order of their emission; a run sent twice is taken once.

    202 means that they are accepted but perhaps not on disk yet. To be sure after a kill of the service, send the run
    again after its restart. Post a run from its start document on, with one key; for a suggestion's run, with the key
    that claimed it.
    """
    await run_in_threadpool(_check_all, batch.documents)
    service.documents.post(batch.documents, key)
    return DocumentsAnswer(accepted=len(batch.documents))


def _check_all(batch: list[tuple[str, dict[str, Any]]]) -> None:
    for i, (name, document) in enumerate(batch):
        _check(f"documents.{i}", name, document)
        for path, uid in uids_in(name, document):
            if not is_uid(uid):
                raise InvalidInput(
                    f"documents.{i}.1.{path} {UID_DETAIL}", errors=[FieldError(f"documents.{i}.1.{path}", UID_DETAIL)]
                )
        suggestion_id = document.get("agent_suggestion_uid") if name == "start" else None
        if isinstance(suggestion_id, str) and not (len(suggestion_id) <= _LONGEST_ID and suggestion_id.isprintable()):
            where, detail = (
                f"documents.{i}.1.agent_suggestion_uid",
                f"is over {_LONGEST_ID} characters, or not printable",
            )
            raise InvalidInput(f"{where} {detail}", errors=[FieldError(where, detail)])


def _check(where: str, name: str, document: dict[str, Any]) -> None:
    validators = _validators()
    validator = validators.get(name)
    if validator is None:
        detail = f"is no kind of document; the kinds are {', '.join(validators)}"
        raise InvalidInput(f"{where}.0 {detail}", errors=[FieldError(f"{where}.0", detail)])
    error = next(validator.iter_errors(document), None)  # one is enough, and there may be very many
    if error is not None:
        path = ".".join([where, "1", *(str(part) for part in error.absolute_path)])
        detail = f"does not fit the schema of a {name} document: {error.validator} {error.validator_value}"
        raise InvalidInput(f"{path} {detail}", errors=[FieldError(path, detail)])
