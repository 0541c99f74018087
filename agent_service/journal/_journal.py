"""The journal that the service uses: every fact in order; followers are told after it was written.

State is a fold over the journal: `JournalLog.append` writes a fact, and when its commit is done calls the applier (the
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
from typing import TYPE_CHECKING, Any, Final

from agent_service import context
from agent_service.errors import BackendUnavailable, InvalidInput
from agent_service.journal._followers import Followers
from agent_service.journal._writer_thread import Barrier, Compaction, JournalWriter, Pending
from agent_service.models import Event, EventKind, utcnow
from agent_service.protocols import Seqs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_service.protocols import JournalStore

CLOSES_WITHIN_S: Final = 10.0

_log = logging.getLogger(__name__)


class JournalLog:
    """The journal of a service: facts in an order, numbered without holes from 1.

    `open_store`, `read`, `last_before`, `snapshot`, `wait` and `await_turn` block, and belong to any thread but the
    event loop's; the rest belong to that.
    """

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._followers = Followers(store)
        self._apply: Callable[[Event], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: JournalWriter | None = None
        self._seqs = Seqs(0, 0, 0)
        self._on_fault: Callable[[], None] = lambda: None
        self._on_late: Callable[[Event], None] = lambda event: None
        self.follow = self._followers.follow
        self.follow_in_batches = self._followers.batches
        self.open_store = store.open
        self.read = store.read
        self.told = store.told
        self.of_suggestions = store.of_suggestions
        self.last_before = store.last_before
        self.wait = store.wait
        self.await_turn = store.await_turn
        self.snapshot = store.snapshot

    @property
    def last_seq(self) -> int:
        """Number of the newest committed fact, 0 when there is none."""
        return self._writer.last_seq if self._writer else self._seqs.last

    @property
    def seqs(self) -> Seqs:
        """Where its facts begin and end."""
        writer = self._writer
        return Seqs(writer.last_seq, writer.snapshot_seq, writer.forgotten_seq) if writer else self._seqs

    @property
    def fault(self) -> str | None:
        """Why nothing can be acknowledged now, in one line, and what to do; None when it can."""
        if self._writer is None:
            return None
        return self._writer.fault or self._store.lost()  # before the writer comes across it

    @property
    def lost(self) -> bool:
        """Whether the next start would not read what is written now; `fault` says what to do then."""
        return self._writer is not None and self._store.lost() is not None

    @property
    def leads(self) -> bool:
        """Whether nobody else can write now, by the clock: look before anything is begun that moves."""
        return self._store.leads()

    def open(self, seqs: Seqs | None = None) -> None:
        """Begin to write; call it once, with the event loop running.

        ``seqs`` is what `open_store` returned, which raises `UsageError`, and brings an older journal up to date; left
        out: it is called here.
        """
        loop = self._loop = asyncio.get_running_loop()
        self._seqs = self.open_store() if seqs is None else seqs

        def on_loop(function: Callable[..., None], *args: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                loop.call_soon_threadsafe(function, *args)

        self._writer = JournalWriter(
            self._store,
            self._seqs,
            on_loop=on_loop,
            committed=self._committed,
            fault_changed=lambda: self._on_fault(),  # noqa: PLW0108 - it may be set later
        )

    def on_commit(self, apply: Callable[[Event], None]) -> None:
        """Let ``apply`` be called with each fact, in order, as soon as it is committed."""
        self._apply = apply

    def on_late(self, catch_up: Callable[[Event], None]) -> None:
        """Let ``catch_up`` be called with each fact that was refused and came to pass all the same, once applied."""
        self._on_late = catch_up

    def on_fault(self, tell: Callable[[], None]) -> None:
        """Let ``tell`` be called, on the event loop, whenever `fault` changed."""
        self._on_fault = tell

    async def append(self, kind: EventKind, agent: str | None, data: dict[str, Any]) -> Event:
        """Write a fact; returns when it would survive a kill -9 and is applied. Concurrent facts share a commit.

        `BackendUnavailable` when it cannot be written: it is not in the journal then, and nobody is told of it.
        """
        return await self.post(kind, agent, data)

    def post(self, kind: EventKind, agent: str | None, data: dict[str, Any]) -> asyncio.Future[Event]:
        """Queue a fact without waiting; facts posted one after the other keep their order and share a commit.

        A fact that a request causes says by whose key, in ``by``. The future is done when the fact is committed and
        applied, or with `BackendUnavailable`; that of a task that is patient (`be_patient`) not before the journal can
        be written, or is closed.
        """
        return self.post_together(agent, [(kind, data)])[0]

    def post_together(
        self, agent: str | None, facts: Sequence[tuple[EventKind, dict[str, Any]]]
    ) -> list[asyncio.Future[Event]]:
        """Queue facts that are written all or none, and return a future for each, as `post` does."""
        writer, loop = self._opened()
        name, patient = context.acting(), context.is_patient()
        request = {} if (mark := context.request_mark()) is None else {"request": mark}
        pending: list[Pending] = []
        for kind, values in facts:
            by = {"by": name} if name is not None and values.get("by", "person") == "person" else {}
            data = {**values, **by, **request}
            pending.append(Pending(utcnow(), agent, kind, data, encoded(data), patient, loop.create_future()))
        writer.put(tuple(pending))
        return [fact.done for fact in pending]

    async def settled(self) -> None:
        """Return when facts can be written, and it is known of each that was refused whether it is a fact all the same.

        `BackendUnavailable` when the journal is closed before that.
        """
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
        self._followers.put(Event(seq=None, time=utcnow(), agent=agent, kind=kind, data=data))

    async def compact(self, snapshot: str, *, seq: int, forget: int | None = None) -> None:
        """Write a snapshot: everything that the facts up to ``seq`` say, as JSON. The numbers go on.

        The facts up to ``forget`` are deleted, by default all of those; with ``forget``, later ones can still be read.
        `BackendUnavailable` when it cannot be written; the facts are still there then.
        """
        writer, loop = self._opened()
        done: asyncio.Future[None] = loop.create_future()
        writer.put(Compaction(seq, seq if forget is None else forget, snapshot, done))
        await done

    async def close(self) -> None:
        """Write what is queued and end; does nothing the second time."""
        writer, self._writer = self._writer, None
        if writer is None:
            self._store.close()
            return
        await asyncio.to_thread(writer.close, CLOSES_WITHIN_S)
        self._seqs = Seqs(writer.last_seq, writer.snapshot_seq, writer.forgotten_seq)

    def _committed(self, facts: Sequence[Pending], events: Sequence[Event]) -> None:
        for pending, event in zip(facts, events, strict=True):
            if self._apply is not None:
                try:
                    self._apply(event)
                except Exception:  # noqa: BLE001 - logged; a fold that fails must not take the journal down
                    _log.exception("fact %s could not be applied", event.seq)
            self._followers.put(event)
            if not pending.done.done():
                pending.done.set_result(event)
            elif not pending.done.cancelled():
                self._on_late(event)


def encoded(data: dict[str, Any]) -> str:
    """Return a fact's data as JSON, or raise `InvalidInput`: what cannot be told to everybody is no fact."""
    try:
        text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode("utf-8")
    except ValueError as error:  # a lone surrogate too
        raise InvalidInput(f"this cannot be written as JSON in UTF-8: {error}") from None
    return text
