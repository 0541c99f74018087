"""The journal: every fact in order, in SQLite; followers are told after the commit.

State is a fold over the journal: `Journal.append` writes a fact, and when its commit is done calls the applier (the
supervisor) and then the followers (the event streams), on the event loop and in the order of the facts. So nothing in
memory, and nobody outside, ever knows a fact that a kill -9 could take back.

When the disk is full a request is refused (503), and what the service does by itself waits (`be_patient`): its facts
are tried again until they are written, in their order. It forgets no measurement, and does not go on without memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa

from agent_service import context
from agent_service.errors import BackendUnavailable, InvalidInput
from agent_service.journal import _sqlite as journal_file
from agent_service.journal._place import JournalPlace
from agent_service.journal._writer import Barrier, Compaction, JournalWriter, Pending
from agent_service.models import Event, EventKind, utcnow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from datetime import datetime
    from pathlib import Path

FOLLOWER_CAPACITY: Final = 10_000
"""Events a follower may lag behind; beyond, it is dropped and resumes from the journal by its cursor."""

CLOSES_WITHIN_S: Final = 10.0

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Follower:
    """Where events that are wanted arrive for one reader; `dropped` when the reader was too slow."""

    def __init__(self, wanted: Callable[[Event], bool] | None) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue(FOLLOWER_CAPACITY)
        self.dropped = False
        self.wanted = wanted

    def put(self, event: Event) -> None:
        """Hand an event over if it is wanted, or mark the reader as dropped when it is full."""
        if self.wanted is not None and not self.wanted(event):
            return
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped = True


class SqlJournal:
    """The journal in a SQLite file.

    Parameters
    ----------
    path
        The file; made when it is missing. Its folder must exist, on a local disk.
    power_safe
        Whether a commit also survives a power cut (synchronous=FULL) and not only a kill -9 (NORMAL).
    held
        Returns why its folder is no longer this service's, or None; asked at each commit, in the writer's thread.

    Notes
    -----
    `open`, `append`, `post`, `publish`, `follow` and `close` belong to the event loop's thread; `read` to any other.
    """

    def __init__(self, path: Path, *, power_safe: bool = False, held: Callable[[], str | None] = lambda: None) -> None:
        self._path = path
        self._place = JournalPlace(path, held=held)
        self._power_safe = power_safe
        self._engine = journal_file.open_engine(path, synchronous="FULL" if power_safe else "NORMAL")
        self._followers: set[Follower] = set()
        self._apply: Callable[[Event], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: JournalWriter | None = None
        self._seqs = (0, 0)
        self._on_fault: Callable[[], None] = lambda: None

    @property
    def last_seq(self) -> int:
        """Number of the newest committed fact, 0 when there is none."""
        return self._writer.last_seq if self._writer else self._seqs[0]

    @property
    def snapshot_seq(self) -> int:
        """Number of the last fact that is in the snapshot and no longer by itself, 0 when there is no snapshot."""
        return self._writer.snapshot_seq if self._writer else self._seqs[1]

    @property
    def fault(self) -> str | None:
        """Why nothing can be acknowledged now, in one line, and what to do; None when it can."""
        if self._writer is None:
            return None
        if self._writer.fault is not None:
            return self._writer.fault
        why = self._place.fault()  # before the writer comes across it
        return why and f"{why}; {self._place.remedy()}"

    @property
    def lost(self) -> bool:
        """Whether its files are not where they were; `fault` says what to do then."""
        return self._writer is not None and self._place.fault() is not None

    def open(self) -> None:
        """Open or make the file and begin to write; call it once, with the event loop running.

        Raises
        ------
        UsageError
            When the file is no journal, cannot be written, or was written by a newer version of this program.
        """
        loop = self._loop = asyncio.get_running_loop()
        self._seqs = journal_file.prepare(self._path, self._engine)
        self._place.learn()

        def on_loop(function: Callable[..., None], *args: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                loop.call_soon_threadsafe(function, *args)

        self._writer = JournalWriter(
            self._engine,
            self._place,
            self._seqs,
            on_loop=on_loop,
            committed=self._committed,
            fault_changed=lambda: self._on_fault(),  # noqa: PLW0108 - it may be set later
        )

    def on_commit(self, apply: Callable[[Event], None]) -> None:
        """Let ``apply`` be called with each fact, in order, as soon as it is committed."""
        self._apply = apply

    def on_fault(self, tell: Callable[[], None]) -> None:
        """Let ``tell`` be called, on the event loop, whenever `fault` changed."""
        self._on_fault = tell

    async def append(self, kind: EventKind, agent: str | None, data: dict[str, Any]) -> Event:
        """Write a fact; returns when it would survive a kill -9 and is applied. See `protocols.Journal`."""
        return await self.post(kind, agent, data)

    def post(self, kind: EventKind, agent: str | None, data: dict[str, Any]) -> asyncio.Future[Event]:
        """Queue a fact without waiting; facts posted one after the other keep their order and share a commit.

        A fact that a request causes says by whose key, in ``by``.

        Returns
        -------
        asyncio.Future
            Done when the fact is committed and applied, or with `BackendUnavailable`; that of a task that is patient
            (`be_patient`) not before the journal can be written, or is closed.
        """
        return self.post_together(agent, [(kind, data)])[0]

    def post_together(
        self, agent: str | None, facts: Sequence[tuple[EventKind, dict[str, Any]]]
    ) -> list[asyncio.Future[Event]]:
        """Queue facts that are written all or none, and return a future for each, as `post` does."""
        writer, loop = self._opened()
        name, patient = context.acting(), context.is_patient()
        pending: list[Pending] = []
        for kind, told in facts:
            by = {"by": name} if name is not None and told.get("by", "person") == "person" else {}
            data = {**told, **by}
            pending.append(Pending(utcnow(), agent, kind, data, _encoded(data), patient, loop.create_future()))
        writer.put(tuple(pending))
        return [one.done for one in pending]

    async def settled(self) -> None:
        """Return when nothing is in doubt. See `protocols.Journal`."""
        writer, loop = self._opened()
        done: asyncio.Future[None] = loop.create_future()
        writer.put(Barrier(done))
        await done

    def _opened(self) -> tuple[JournalWriter, asyncio.AbstractEventLoop]:
        if self._writer is None or self._loop is None:
            raise BackendUnavailable("the journal is closed; the service is stopping")
        return self._writer, self._loop

    def publish(self, kind: EventKind, agent: str | None, data: dict[str, Any]) -> None:
        """Tell the followers something transient, which is not written."""
        self._tell(Event(seq=None, time=utcnow(), agent=agent, kind=kind, data=data))

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
        asked = journal_file.query(after=after, agent=agent, kinds=kinds, limit=limit, newest_first=newest_first)
        return journal_file.select(self._engine, asked)

    def last_before(self, time: datetime) -> int:
        """Return the number of the last fact older than ``time``, 0 when there is none. Blocks, as `read` does."""
        return journal_file.last_before(self._engine, time)

    def snapshot(self) -> tuple[int, dict[str, Any]] | None:
        """Return the snapshot and the number of the last fact in it, or None. Blocks on the disk, as `read` does."""
        return journal_file.read_snapshot(self._engine)

    async def compact(self, snapshot: dict[str, Any], *, seq: int) -> None:
        """Put a snapshot in the place of the facts up to ``seq``; the numbers go on as if they were there.

        Parameters
        ----------
        snapshot
            Everything that these facts say, as JSON.
        seq
            Number of the last of them.

        Raises
        ------
        BackendUnavailable
            When it cannot be written; the facts are still there then.
        """
        text = await asyncio.to_thread(_encoded, snapshot)
        writer, loop = self._opened()
        done: asyncio.Future[None] = loop.create_future()
        writer.put(Compaction(seq, text, done))
        await done

    async def follow(self, *, after: int, wanted: Callable[[Event], bool] | None = None) -> AsyncGenerator[Event]:
        """Yield events newer than ``after``, each once and in order; those that are ``wanted`` only, if given.

        Ends when the reader is too slow, and where facts are missing that went into a snapshot.
        """
        follower = Follower(wanted)
        self._followers.add(follower)
        try:
            told = after
            while past := await asyncio.to_thread(self.read, after=told, limit=1000):
                if past[0].seq != told + 1:
                    return
                for event in past:
                    told = event.seq or told
                    if wanted is None or wanted(event):
                        yield event
            while not (follower.dropped and follower.queue.empty()):
                event = await follower.queue.get()
                if event.seq is None or event.seq > told:
                    told = event.seq or told
                    yield event
        finally:
            self._followers.discard(follower)

    async def close(self) -> None:
        """Write what is queued and end; does nothing the second time."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await asyncio.to_thread(writer.close, CLOSES_WITHIN_S)
            self._seqs = (writer.last_seq, writer.snapshot_seq)
        self._engine.dispose()

    def _committed(self, facts: Sequence[Pending], events: Sequence[Event]) -> None:
        for pending, event in zip(facts, events, strict=True):
            if self._apply is not None:
                try:
                    self._apply(event)
                except Exception:  # noqa: BLE001 - logged; a fold that fails must not take the journal down
                    _log.exception("fact %s could not be applied", event.seq)
            self._tell(event)
            if not pending.done.done():
                pending.done.set_result(event)

    def _tell(self, event: Event) -> None:
        for follower in self._followers:
            follower.put(event)


def _encoded(data: dict[str, Any]) -> str:
    """Return a fact's data as JSON, or raise `InvalidInput`: what cannot be told to everybody is no fact."""
    try:
        text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode("utf-8")
    except ValueError as error:  # a lone surrogate too
        raise InvalidInput(f"this cannot be written as JSON in UTF-8: {error}") from None
    return text


def read_facts(path: Path, *, after: int = 0, limit: int = 1000) -> list[Event]:
    """Return facts of another process's journal, in order; an empty list while there is no journal yet.

    Parameters
    ----------
    path
        The journal's file.
    after
        Number of the last fact already known.
    limit
        Most facts to return.

    Raises
    ------
    BackendUnavailable
        When the file is there and cannot be read.
    """
    if not path.exists():
        return []
    return _elsewhere(
        path, lambda engine: journal_file.select(engine, journal_file.query(after=after, limit=limit)), []
    )


def read_snapshot(path: Path) -> tuple[int, dict[str, Any]] | None:
    """Return the snapshot of another process's journal and the number of the last fact in it, or None.

    Raises
    ------
    BackendUnavailable
        When the file is there and cannot be read.
    """
    return _elsewhere(path, journal_file.read_snapshot, None) if path.exists() else None


def last_seq(path: Path) -> int:
    """Return the number of the newest fact in another process's journal, 0 when there is none.

    Raises
    ------
    BackendUnavailable
        When the file is there and cannot be read.
    """
    if not path.exists():
        return 0
    newest = journal_file.query(limit=1, newest_first=True)
    found = _elsewhere(path, lambda engine: journal_file.select(engine, newest), [])
    return found[0].seq or 0 if found else 0


def _elsewhere(path: Path, read: Callable[[sa.Engine], T], default: T) -> T:
    engine = sa.create_engine("sqlite://", creator=lambda: journal_file.connect(path, mode="ro"), poolclass=sa.NullPool)
    try:
        return read(engine)
    except BackendUnavailable as error:
        if "no such table" in error.detail:
            return default
        raise
    finally:
        engine.dispose()
