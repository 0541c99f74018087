"""The journal: every fact in order, in SQLite; one writer thread, group commit, followers told after the commit.

State is a fold over the journal: `Journal.append` writes a fact, and when its commit is done calls the applier (the
supervisor) and then the followers (the event streams), on the event loop and in the order of the facts. So nothing in
memory, and nobody outside, ever knows a fact that a kill -9 could take back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import queue
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import event as sa_event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from agent_service import actor
from agent_service.errors import BackendUnavailable, InvalidInput, UsageError
from agent_service.models import Event, EventKind, utcnow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

SCHEMA_VERSION: Final = 1
FOLLOWER_CAPACITY: Final = 10_000
"""Events a follower may lag behind; beyond, it is dropped and resumes from the journal by its cursor."""

_log = logging.getLogger(__name__)
_metadata = sa.MetaData()
_facts = sa.Table(
    "facts",
    _metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("agent", sa.String),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Index("facts_by_agent", "agent", "seq"),
)
_meta = sa.Table(
    "meta", _metadata, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.String, nullable=False)
)

# made once: SQLAlchemy keeps a statement's compiled form with the statement
_INSERT = _facts.insert()


@dataclass(frozen=True, slots=True)
class _Pending:
    """A fact on its way to the disk; the writer thread numbers it."""

    time: datetime
    agent: str | None
    kind: EventKind
    data: dict[str, Any]
    text: str
    done: asyncio.Future[Event]


class Follower:
    """Where events arrive for one reader; `dropped` when the reader was too slow."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue(FOLLOWER_CAPACITY)
        self.dropped = False

    def put(self, event: Event) -> None:
        """Hand an event over, or mark the reader as dropped when it is full."""
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

    Notes
    -----
    `open`, `append`, `post`, `publish`, `follow` and `close` belong to the event loop's thread; `read` to any other.
    """

    def __init__(self, path: Path, *, power_safe: bool = False) -> None:
        self._path = path
        self._power_safe = power_safe
        self._engine = _engine(path, synchronous="FULL" if power_safe else "NORMAL")
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._followers: set[Follower] = set()
        self._apply: Callable[[Event], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._last_seq = 0

    @property
    def last_seq(self) -> int:
        """Number of the newest committed fact, 0 when there is none."""
        return self._last_seq

    def open(self) -> None:
        """Open or make the file and begin to write; call it once, with the event loop running.

        Raises
        ------
        UsageError
            When the file is no journal, cannot be written, or was written by a newer version of this program.
        """
        try:
            with self._engine.begin() as connection:
                _metadata.create_all(connection)
                version = connection.scalar(sa.select(_meta.c.value).where(_meta.c.key == "schema_version"))
                if version is None:
                    connection.execute(_meta.insert(), {"key": "schema_version", "value": str(SCHEMA_VERSION)})
                elif int(version) > SCHEMA_VERSION:
                    raise UsageError(
                        f"the journal {self._path} has version {version}, written by a newer agent-service; this one "
                        f"reads up to {SCHEMA_VERSION}: upgrade it, or give another folder with --state"
                    )
                self._last_seq = connection.scalar(sa.select(sa.func.max(_facts.c.seq))) or 0
        except SQLAlchemyError as error:
            raise UsageError(f"the journal {self._path} cannot be used: {_why(error)}") from error
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_forever, name="journal", daemon=True)
        self._thread.start()

    def on_commit(self, apply: Callable[[Event], None]) -> None:
        """Let ``apply`` be called with each fact, in order, as soon as it is committed."""
        self._apply = apply

    async def append(self, kind: EventKind, agent: str | None, data: dict[str, Any]) -> Event:
        """Write a fact; returns when it would survive a kill -9 and is applied. See `protocols.Journal`."""
        return await self.post(kind, agent, data)

    def post(self, kind: EventKind, agent: str | None, data: dict[str, Any]) -> asyncio.Future[Event]:
        """Queue a fact without waiting; facts posted one after the other keep their order and share a commit.

        A fact that a request causes says by whose key, in ``by``.

        Returns
        -------
        asyncio.Future
            Done when the fact is committed and applied, or with `BackendUnavailable`.
        """
        if (name := actor.acting()) is not None and data.get("by", "person") == "person":
            data = {**data, "by": name}
        text = _encoded(data)
        if self._thread is None or self._loop is None:
            raise BackendUnavailable("the journal is closed; the service is stopping")
        pending = _Pending(utcnow(), agent, kind, data, text, self._loop.create_future())
        self._queue.put(pending)
        return pending.done

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
        query = _query(after=after, agent=agent, kinds=kinds, limit=limit, newest_first=newest_first)
        return _select(self._engine, query)

    async def follow(self, *, after: int) -> AsyncGenerator[Event]:
        """Yield events newer than ``after``, each once and in order; ends when the reader is too slow."""
        follower = Follower()
        self._followers.add(follower)
        try:
            told = after
            while past := await asyncio.to_thread(self.read, after=told, limit=1000):
                for event in past:
                    told = event.seq or told
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
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join, 10)
        self._engine.dispose()

    def _write_forever(self) -> None:
        with contextlib.closing(_Writer(self._engine)) as writer:
            while True:
                batch = [self._queue.get()]
                while not self._queue.empty() and len(batch) < 1000:  # noqa: PLR2004 - keeps a commit short
                    batch.append(self._queue.get())
                facts = [one for one in batch if one is not None]
                if facts:
                    self._write(writer, facts)
                if len(facts) < len(batch):
                    return

    def _write(self, writer: _Writer, facts: list[_Pending]) -> None:
        first = self._last_seq + 1
        try:
            writer.insert(first, facts)
        except SQLAlchemyError as error:
            refusal = BackendUnavailable(f"the journal cannot be written: {_why(error)}; nothing was acknowledged")
            self._call(self._refused, facts, refusal)
            return
        self._last_seq += len(facts)
        events = [
            Event.model_construct(seq=first + i, time=one.time, agent=one.agent, kind=one.kind, data=one.data)
            for i, one in enumerate(facts)
        ]
        self._call(self._committed, facts, events)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            assert self._loop is not None  # noqa: S101 - open() set it before this thread began
            self._loop.call_soon_threadsafe(function, *args)

    def _committed(self, facts: list[_Pending], events: list[Event]) -> None:
        for pending, event in zip(facts, events, strict=True):
            if self._apply is not None:
                try:
                    self._apply(event)
                except Exception:  # noqa: BLE001 - logged; a fold that fails must not take the journal down
                    _log.exception("fact %s could not be applied", event.seq)
            self._tell(event)
            if not pending.done.done():
                pending.done.set_result(event)

    def _refused(self, facts: list[_Pending], refusal: BackendUnavailable) -> None:
        _log.error("%s", refusal)
        for pending in facts:
            if not pending.done.done():
                pending.done.set_exception(refusal)
                pending.done.exception()  # a post nobody awaits was logged above

    def _tell(self, event: Event) -> None:
        for follower in self._followers:
            follower.put(event)


class _Writer:
    """The writer thread's connection, opened again after an error."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._connection: sa.Connection | None = None

    def insert(self, first: int, facts: list[_Pending]) -> None:
        """Write facts numbered from ``first`` in one transaction."""
        rows = [
            {
                "seq": first + i,
                "time": one.time.isoformat(),
                "agent": one.agent,
                "kind": str(one.kind),
                "data": one.text,
            }
            for i, one in enumerate(facts)
        ]
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                self._connection.execute(_INSERT, rows)
        except SQLAlchemyError:
            self.close()
            raise

    def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()


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
    engine = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true", poolclass=sa.NullPool)
    try:
        return _select(engine, _query(after=after, limit=limit))
    except BackendUnavailable as error:
        if "no such table" in error.detail:
            return []
        raise
    finally:
        engine.dispose()


def _query(
    *,
    after: int = 0,
    agent: str | None = None,
    kinds: Sequence[EventKind] = (),
    limit: int | None = None,
    newest_first: bool = False,
) -> sa.Select[Any]:
    query = sa.select(_facts)
    if newest_first:
        query = query.order_by(_facts.c.seq.desc())
        query = query.where(_facts.c.seq < after) if after else query
    else:
        query = query.order_by(_facts.c.seq).where(_facts.c.seq > after)
    if agent is not None:
        query = query.where(_facts.c.agent == agent)
    if kinds:
        query = query.where(_facts.c.kind.in_([str(kind) for kind in kinds]))
    return query if limit is None else query.limit(limit)


def _select(engine: sa.Engine, query: sa.Select[Any]) -> list[Event]:
    try:
        with engine.connect() as connection:
            rows = connection.execute(query).all()
    except SQLAlchemyError as error:
        raise BackendUnavailable(f"the journal cannot be read: {_why(error)}") from error
    return [
        Event.model_construct(
            seq=row.seq,
            time=datetime.fromisoformat(row.time),
            agent=row.agent,
            kind=EventKind(row.kind),
            data=json.loads(row.data),
        )
        for row in rows
    ]


def _engine(path: Path, *, synchronous: str) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})

    def tune(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute("PRAGMA busy_timeout=5000")
        cursor.close()

    sa_event.listen(engine, "connect", tune)
    return engine


def _why(error: SQLAlchemyError) -> str:
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)
