"""What a service keeps beside its journal in PostgreSQL, in the place of small files: for whoever leads next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from agent_service.errors import BackendUnavailable
from agent_service.journal._tables import why
from agent_service.journal._watchdog import answers_within

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent_service.journal._leadership import Leadership

_ANSWERS_S: Final = 5.0

_ADD: Final = sa.text("INSERT INTO keys (line) SELECT unnest(CAST(:lines AS TEXT[])) ON CONFLICT (line) DO NOTHING")
_LINES: Final = sa.text("SELECT line FROM keys ORDER BY number")
_NOTES: Final = sa.text("SELECT name, text FROM notes")
_KEEP: Final = sa.text("INSERT INTO notes VALUES (:name, :text) ON CONFLICT (name) DO UPDATE SET text = excluded.text")
_FORGET: Final = sa.text("DELETE FROM notes WHERE name = :name")


class Notes:
    """Texts by name, which the leader writes; and lines about keys, which anybody adds. For any thread.

    Every method blocks, and raises `BackendUnavailable` when the database cannot be used.
    """

    def __init__(self, engine: sa.Engine, lead: Leadership) -> None:
        self._engine = engine
        self._lead = lead

    def read(self) -> dict[str, str]:
        """Return all texts."""
        try:
            with self._engine.connect() as connection, answers_within(connection, _ANSWERS_S):
                return {name: text for name, text in connection.execute(_NOTES)}  # noqa: C416 - rows are no pairs
        except SQLAlchemyError as error:
            raise _away(error) from error

    def keep(self, texts: Mapping[str, str | None]) -> None:
        """Write texts in one transaction of our epoch, None: there is none any more; `LeadLost` if it is over."""
        try:
            with self._engine.connect() as connection, answers_within(connection, _ANSWERS_S), connection.begin():
                self._lead.check(connection)
                for name, text in texts.items():
                    connection.execute(_FORGET if text is None else _KEEP, {"name": name, "text": text})
        except SQLAlchemyError as error:
            raise _away(error) from error

    def with_lines(self, lines: Iterable[str]) -> list[str]:
        """Add the lines about keys that are new, and return all in the order in which they came."""
        try:
            with self._engine.connect() as connection, answers_within(connection, _ANSWERS_S), connection.begin():
                known = list(connection.scalars(_LINES))
                if new := [line for line in lines if line not in known]:
                    connection.execute(_ADD, {"lines": new})
                    known = list(connection.scalars(_LINES))
                return known
        except SQLAlchemyError as error:
            raise _away(error) from error


def _away(error: SQLAlchemyError) -> BackendUnavailable:
    return BackendUnavailable(f"the journal's database cannot be used: {why(error)}")
