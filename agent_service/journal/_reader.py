"""The journal of another process, by its URL: for the archive, and for whoever looks at a state directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_service.errors import UsageError
from agent_service.journal._postgres import PostgresReader
from agent_service.journal._sqlite_reader import SqliteReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent_service.protocols import JournalReader

READERS: Final[Mapping[str, Callable[[str], JournalReader]]] = {
    "sqlite": SqliteReader,
    "postgresql": PostgresReader,
    "postgresql+psycopg": PostgresReader,
}
"""Reader by the URL's scheme."""


def reader(url: str) -> JournalReader:
    """Return a reader of the journal at ``url``, as ``sqlite:////home/me/state/journal.db`` or ``postgresql://me@db/beamline``."""
    scheme = url.partition(":")[0]
    if scheme not in READERS:
        raise UsageError(f"a journal's URL begins with one of {', '.join(READERS)}, not with {scheme!r}")
    return READERS[scheme](url)
