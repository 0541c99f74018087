"""Facts that the service has acknowledged: one thread writes them, anybody reads or follows them.

Not here: what the facts mean (`agents.record`), and the copy that databroker reads (`archive`).
"""

from agent_service.journal._journal import JournalLog, encoded
from agent_service.journal._postgres import PostgresStore, look_at
from agent_service.journal._postgres_notes import Notes
from agent_service.journal._reader import reader
from agent_service.journal._sqlite_commits import SqliteStore
from agent_service.journal._sqlite_schema import version_of

__all__ = ["JournalLog", "Notes", "PostgresStore", "SqliteStore", "encoded", "look_at", "reader", "version_of"]
