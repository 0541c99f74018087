"""A source as the service hears it: whose documents they are, and when the last one came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.documents.origin import Origin
from agent_service.models import utcnow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent_service.documents.intake import DocumentIntake
    from agent_service.models import SourceStatus
    from agent_service.protocols import Document, DocumentSource


class HeardSource:
    """One source, with the intake as it sees it: each document goes in as one of its origin.

    Parameters
    ----------
    source
        The source.
    origin
        Where its documents come from, and so what may be wrong with them.
    """

    def __init__(self, source: DocumentSource, origin: Origin) -> None:
        self.source = source
        self.origin = origin
        self._intake: DocumentIntake | None = None
        self._documents = 0
        self._last: datetime | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether it hears another machine, which goes on while this service is away."""
        return self.origin is not Origin.HERE

    @property
    def status(self) -> SourceStatus:
        """How it is at present; from any thread."""
        counted = {"documents": self._documents, "last_document": self._last}
        return self.source.status.model_copy(update=counted)

    def start(self, intake: DocumentIntake) -> None:
        """Begin to put its documents into the intake."""
        self._intake = intake
        self.source.start(self)

    def put(self, name: str, document: Document, stored: Callable[[], None] | None = None) -> None:
        """Take a document. See `protocols.Intake`."""
        if self._intake is not None:
            self._documents += 1
            self._last = utcnow()
            self._intake.put(name, document, stored, self.origin)
