"""Documents from anyone who speaks HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from agent_service.models import DocumentBatch, DocumentsAnswer
from agent_service.server.routes import ServiceDep

router = APIRouter(tags=["documents"])


@router.post("/documents", status_code=202)
def documents(service: ServiceDep, batch: DocumentBatch) -> DocumentsAnswer:
    """Take Bluesky documents, in the order of their emission; a run sent twice is taken once."""
    service.take_documents(batch.documents)
    return DocumentsAnswer(accepted=len(batch.documents))
