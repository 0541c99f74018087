"""A journal copied from one place to another: from a state directory into a database, or back."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service.errors import BackendUnavailable, UsageError
from agent_service.errors.texts import without_password
from agent_service.journal import PostgresStore, SqliteStore, encoded, look_at, reader
from agent_service.protocols import FactRow
from agent_service.service.shared_files import SharedFiles
from agent_service.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from agent_service.models import Event

_PAGE: Final = 5000


def copy_journal(source: str, target: str) -> tuple[int, int]:
    """Copy snapshot, facts, keys and the archive's cursor; return how many facts, and the number of the last.

    Each is a state directory or the URL of a PostgreSQL database, which no service uses meanwhile. Raises `UsageError`
    when one cannot be used, there is nothing to copy, or the target holds a journal already.
    """
    shown = without_password(target)
    if _same(source) == _same(target):
        raise UsageError(f"{without_password(source)} and {shown} are the same place; give an empty one to copy to")
    _require_journal(source)
    with contextlib.ExitStack() as stack:
        store, state = stack.enter_context(_opened(source))
        other, other_state = stack.enter_context(_opened(target))
        seqs = store.open()
        if other.open().last:
            raise UsageError(f"{shown} holds a journal already, up to fact {other.last_seq()}; give an empty place")
        snapshot = store.snapshot()
        rows = _rows(store.told(until=seqs.forgotten)) if seqs.forgotten else []
        copied = len(rows)
        seq = seqs.forgotten
        while events := store.read(after=seq, limit=_PAGE):
            seq = events[-1].seq or seq
            rows += _rows(events)
        try:
            other.write(rows)  # one cut short after this has facts that nothing precedes, and is refused
            if snapshot is not None:
                other.compact(snapshot[0], encoded(snapshot[1]), forget=seqs.forgotten)
        except BackendUnavailable as error:
            raise UsageError(f"{shown} cannot be written: {error.detail}; it is not to be used") from error
        if isinstance(other, PostgresStore) and isinstance(store, PostgresStore):
            other.notes.keep(store.notes.read())
            other.notes.with_lines(store.notes.with_lines(()))
        elif isinstance(other, PostgresStore) and state is not None:
            SharedFiles(state, other.notes).give()
        elif isinstance(store, PostgresStore) and other_state is not None:
            shared = SharedFiles(other_state, store.notes)
            shared.look()
            shared.take()
    return len(rows) - copied, seqs.last


def _same(place: str) -> str:
    """Return what two names of one place have in common."""
    scheme, is_url, rest = place.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}" if is_url else str(Path(place).resolve())


def _require_journal(place: str) -> None:
    """Raise `UsageError` where there is nothing to copy, and make nothing there."""
    is_url = "://" in place
    if is_url:
        look_at(place)
    with contextlib.closing(reader(place if is_url else StateDir(Path(place)).journal_url)) as journal:
        if not journal.last_seq():
            raise UsageError(f"{without_password(place)} holds no journal")


def _rows(events: Sequence[Event]) -> list[FactRow]:
    return [FactRow(event.seq or 0, event.time, event.agent, event.kind, encoded(event.data)) for event in events]


@contextlib.contextmanager
def _opened(place: str) -> Generator[tuple[PostgresStore | SqliteStore, StateDir | None]]:
    """Yield the store of a place, not open yet, and the state directory that it is in."""
    if "://" in place:
        with contextlib.closing(PostgresStore(place)) as store:
            yield store, None
        return
    with StateDir(Path(place)) as state, contextlib.closing(SqliteStore(state.journal)) as store:
        yield store, state
