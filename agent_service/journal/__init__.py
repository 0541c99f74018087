"""What the service has acknowledged: facts, written by one thread, followed live, read by anybody.

Not here: what the facts mean (`agents.record`), and the copy that databroker reads (`archive`).
"""

from agent_service.journal._journal import SqlJournal, last_seq, read_facts, read_snapshot
from agent_service.journal._sqlite import version_of

__all__ = ["SqlJournal", "last_seq", "read_facts", "read_snapshot", "version_of"]
