"""Seams of the journal: facts as a store keeps them, and what readers and stores must do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from datetime import datetime

    from agent_service.models import Event, EventKind


class FactRow(NamedTuple):
    """A fact as a store keeps it; ``data`` is its data as JSON."""

    seq: int
    time: datetime
    agent: str | None
    kind: EventKind
    data: str


class Seqs(NamedTuple):
    """Numbers of facts of a journal, 0 for none."""

    last: int  # the newest
    snapshot: int  # the last one that is in the snapshot
    forgotten: int  # the last one that cannot be read any more


class JournalReader(Protocol):
    """Reads a journal: facts in order, numbered from 1 without holes; early ones may be in a snapshot.

    Every method blocks on the disk, may be called from any thread, and raises `BackendUnavailable` if the journal
    cannot be read.
    """

    def last_seq(self) -> int:
        """Return the number of the newest fact, 0 when there is none."""
        ...

    def last_before(self, time: datetime) -> int:
        """Return the number of the last fact older than ``time``, 0 when there is none."""
        ...

    def read(
        self,
        *,
        after: int = 0,
        agent: str | None = None,
        kinds: Sequence[EventKind] = (),
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        """Return facts numbered above ``after`` (below it, if ``newest_first`` and not 0), in that order."""
        ...

    def told(
        self, agent: str | None = None, *, after: int = 0, until: int | None = None, limit: int | None = None
    ) -> list[Event]:
        """Return the facts of an agent that its brain may know, in order, with those that `read` lacks by now.

        Kinds suggestion, ingest, config and method; forgotten facts may be missing. None: of all agents.
        """
        ...

    def of_suggestions(self, ids: Sequence[str]) -> list[Event]:
        """Return the facts about suggestions that can still be read, in order."""
        ...

    def snapshot(self) -> tuple[int, dict[str, Any]] | None:
        """Return the number of the last fact in the snapshot, and the snapshot; None when there is none."""
        ...

    def wait(self, *, after: int, within_s: float) -> None:
        """Return when there may be facts numbered above ``after``, or after ``within_s`` seconds; from one thread."""
        ...

    def close(self) -> None:
        """Close it; harmless the second time."""
        ...


class JournalStore(JournalReader, Protocol):
    """The store of a journal. Except for reading, it is called from one thread at a time; every method blocks.

    `write` and `compact` raise `LeadLost`, and write nothing, if somebody else writes the journal by now.
    """

    def await_turn(self, given_up: threading.Event) -> bool:
        """Wait until nobody else writes; False if given up. Raises `UsageError` for what `open` would refuse."""
        ...

    def leads(self) -> bool:
        """Return whether nobody else can write now; answered from memory, from any thread."""
        ...

    def open(self) -> Seqs:
        """Make the store, or bring it up to date; return where its facts begin and end.

        Raises `UsageError` if it is no journal, cannot be used, is written by somebody else now, or was written by a
        newer version of this program; `BackendUnavailable` if it is elsewhere and cannot be reached.
        """
        ...

    def write(self, batch: Sequence[FactRow]) -> None:
        """Write facts, all or none: they then survive a kill -9. Without facts, test whether writing is possible.

        Raises `BackendUnavailable`, in one line, if it failed. To learn whether they were written nevertheless, read
        what came after the last fact.
        """
        ...

    def compact(self, seq: int, snapshot: str, *, forget: int | None = None) -> None:
        """Write a snapshot of the facts up to ``seq``, as JSON; delete the facts up to ``forget``, by default ``seq``.

        Raises `BackendUnavailable`.
        """
        ...

    def lost(self) -> str | None:
        """Return why the next start could not read what is written now, and what to do; None if it could."""
        ...
