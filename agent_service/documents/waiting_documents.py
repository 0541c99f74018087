"""Documents that wait at the document gate for those that they build upon."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from agent_service.documents.origin import Origin
    from agent_service.protocols import Document

Stored = Callable[[], None] | None
"""What to call once a document is on disk."""

MAX_WAITING: Final = 50_000
"""Most documents that wait for others; those that have waited longest are left out for more."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Held:
    """A document as it came, and when (monotonic)."""

    name: str
    document: Document
    origin: Origin
    stored: Stored
    since: float


class WaitingDocuments:
    """Documents by what each waits for."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, list[Held]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: Hashable, documents: Sequence[Held]) -> None:
        """Keep documents until what they wait for is taken."""
        if documents:
            self._by_key.setdefault(key, []).extend(documents)
            self._count += len(documents)

    def make_room(self) -> list[Held]:
        """Take out and return what is left out for one more: nothing below the limit, else the first that came."""
        if self._count < MAX_WAITING:
            return []
        _log.warning("more than %d documents wait for others: the first of them are left out", MAX_WAITING)
        return self.pop([next(iter(self._by_key))])

    def pop(self, keys: Iterable[Hashable]) -> list[Held]:
        """Take out and return what waited for any of these."""
        taken = [held for key in keys for held in self._by_key.pop(key, ())]
        self._count -= len(taken)
        return taken

    def pop_all(self) -> list[Held]:
        """Take out and return all of them."""
        return self.pop(list(self._by_key))
