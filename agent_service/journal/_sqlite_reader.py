"""A journal in a SQLite file, read by other processes than the one that writes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import sqlalchemy as sa

from agent_service.errors import BackendUnavailable
from agent_service.journal._sqlite_schema import connect
from agent_service.journal._tables import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence


class SqliteReader(Rows):
    """Reads the journal of another process, at ``sqlite:///PATH`` (quoted); it is empty while there is none."""

    def __init__(self, url: str) -> None:
        path = Path(os.fsdecode(unquote_to_bytes(url.removeprefix("sqlite:///"))))
        self._path = path
        super().__init__(sa.create_engine("sqlite://", creator=lambda: connect(path, mode="ro"), poolclass=sa.NullPool))

    def _rows(self, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> Sequence[sa.Row[Any]]:
        if not self._path.exists():
            return []
        try:
            return super()._rows(query)
        except BackendUnavailable as error:
            if "no such table" in error.detail:  # it is being made
                return []
            raise

    def close(self) -> None:
        """Do nothing: no connection is kept."""
