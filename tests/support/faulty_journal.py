"""A journal that fails at one exact fact, some times in a row, as on a full disk or a file that is moved away."""

import json

from sqlalchemy.exc import OperationalError

from agent_service.journal import _writer_thread
from agent_service.journal._sqlite_commits import SqliteStore

MODES = ("refused", "answer lost")
"""The commit fails; or it comes to pass and says that it failed."""


class FaultyJournal:
    """Fails commits that hold a wanted fact, in every journal of this process while ``monkeypatch`` lasts."""

    def __init__(self, monkeypatch):
        self.wanted = None
        self.left = 0
        self.hits = 0
        insert = SqliteStore._insert

        def faulty(store, batch):
            hit = self.left and any(self.wanted(row.kind, json.loads(row.data)) for row in batch)
            if hit and self.mode == "refused":
                self.fail()
            insert(store, batch)
            if hit:
                self.fail()

        monkeypatch.setattr(SqliteStore, "_insert", faulty)
        monkeypatch.setattr(_writer_thread, "RETRY_S", 0.01)

    def fail(self):
        self.left -= 1
        self.hits += 1
        raise OperationalError("commit", None, OSError("no space left on device"))

    def fail_at(self, kind, *, mode="refused", times=2, **data):
        """Fail the next ``times`` commits with a fact of this kind that holds all of ``data``."""
        self.mode = mode
        self.wanted = lambda found, values: found == kind and all(values.get(key) == data[key] for key in data)
        self.left = times
