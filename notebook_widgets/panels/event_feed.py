"""Updates panels: one daemon thread a kernel, with one event stream a service, shared by all its panels.

The thread has its own asyncio loop: it does not need the kernel's loop, and works while a cell blocks and after
``nest_asyncio.apply()``. It starts with the first panel and ends with the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, Self, TypeVar

from agent_service.client import AsyncClient, Client
from agent_service.errors import Forbidden, InvalidInput, ServiceError, Unauthenticated
from agent_service.models import EventKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from concurrent.futures import Future

    from agent_service.models import Event

T = TypeVar("T")

UPDATE_EVERY_S: Final = 0.1
"""Least time between two updates of a panel."""

LOOKS_AFTER_S: Final = 0.5
"""A stream that is silent for so long makes the feed look whether the service still answers."""

ANSWERS_WITHIN_S: Final = 2.0
"""A service that does not answer within is shown as one that does not: nobody there hears a button."""

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 5.0
RETRY_AFTER_S: Final = 1.0
"""When a panel whose questions were not answered asks again, while the stream is there."""

MAX_WAITING: Final = 5000
"""Events that wait for a slow panel; with more it looks at everything anew instead."""

CLOSE_WITHIN_S: Final = 5.0
CANCEL_AGAIN_S: Final = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """How the connection to a service is: its state, and one line for a person when it is not live."""

    state: Literal["connecting", "live", "reconnecting", "refused"]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """What happened since a panel's last update, in order, and how the connection is now.

    ``stale`` is whether what the panel knew may be wrong: look at everything anew; ``changed`` whether what the
    service says of itself may be another by now, as after a press.
    """

    link: Link
    events: tuple[Event, ...]
    stale: bool
    changed: bool = False


class View(Protocol):
    """A panel, as the live thread sees it."""

    async def refresh(self, client: AsyncClient, update: Update) -> None:
        """Show an update; runs on the live thread's loop, never twice at once."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service is, and the key to it. Panels with the same address share a stream."""

    url: str
    api_key: str | None

    @classmethod
    def of(cls, target: object) -> Self:
        """Return the address that a URL, a client, or anything with a ``client`` leads to, or raise `InvalidInput`."""
        target = getattr(target, "client", target)
        if isinstance(target, str):
            with contextlib.closing(Client(target)) as client:
                return cls(client.url, client.api_key)
        if isinstance(target, Client | AsyncClient):
            return cls(target.url, target.api_key)
        raise InvalidInput(
            f"a {type(target).__name__} leads to no service; give its URL, or a client: Client(url, api_key=...)"
        )


class Subscription:
    """One panel's share of a feed; gathers events and hands them on at most ten times a second.

    Its methods may be called from any thread, but for `note`, which belongs to the live thread.
    """

    def __init__(self, thread: LiveThread, feed: Feed, view: View) -> None:
        self._thread = thread
        self._feed = feed
        self._view = view
        self._events: list[Event] = []
        self._stale = True
        self._changed = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def call(self, ask: Callable[[AsyncClient], Awaitable[T]]) -> Future[T]:
        """Run ``ask(client)`` on the live thread's loop; `InvalidInput` when the panel was closed."""

        async def run() -> T:
            return await ask(self._feed.client)

        if self._closed:
            raise InvalidInput("this panel was closed; make a new one")
        return self._thread.submit(run())

    def note(self, event: Event | None = None, *, stale: bool = False, changed: bool = False) -> None:
        """Note that something happened; on the live thread."""
        self._changed |= changed
        if event is not None:
            self._events.append(event)
        if stale or len(self._events) > MAX_WAITING:
            self._stale = True
            self._events = [kept for kept in self._events if kept.kind is EventKind.LOG]
        self._wake.set()

    def close(self) -> None:
        """Leave the feed; the last one ends the stream, and the thread. Does nothing the second time."""
        if not self._closed:
            self._closed = True
            self._thread.leave(self._feed, self)

    def begin(self) -> None:
        """Begin to hand updates on; on the live thread."""
        self._task = asyncio.ensure_future(self._run())
        self._wake.set()

    async def end(self) -> None:
        """Hand on no more; on the live thread."""
        if self._task is not None:
            await _ended(self._task)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            stale, link = self._stale and self._feed.link.state == "live", self._feed.link
            update = Update(link, tuple(self._events), stale, self._changed)
            self._events, self._changed = [], False
            if stale:
                self._stale = False
            try:
                await self._view.refresh(self._feed.client, update)
            except ServiceError:
                self._stale = True
                asyncio.get_running_loop().call_later(RETRY_AFTER_S, self._wake.set)
            except Exception:  # noqa: BLE001 - a bug of one panel must not end its updates; logged
                _log.exception("a panel could not be updated")
            await asyncio.sleep(UPDATE_EVERY_S)


class Feed:
    """One service's event stream; belongs to the live thread."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.client = AsyncClient(address.url, api_key=address.api_key)
        self.link = Link("connecting")
        self.subscriptions: frozenset[Subscription] = frozenset()  # replaced, never changed: two threads see it
        self._last_seq: int | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to follow the stream."""
        self._task = asyncio.ensure_future(self._follow())

    async def end(self) -> None:
        """Close the stream and the connections."""
        if self._task is not None:
            await _ended(self._task)
        await self.client.close()

    async def _follow(self) -> None:
        """Follow for ever; a lost connection is shown, and tried again at growing intervals."""
        delay_s = FIRST_DELAY_S
        while True:
            try:
                await self._listen()
            except (Unauthenticated, Forbidden) as error:
                self._become(Link("refused", f"{error.detail} (asked at {self.address.url})"))
                delay_s = LONGEST_DELAY_S
            except ServiceError as error:
                delay_s = FIRST_DELAY_S if self.link.state == "live" else min(2 * delay_s, LONGEST_DELAY_S)
                self._become(Link("reconnecting", error.detail))
            except TimeoutError:
                message = f"the service at {self.address.url} has not answered for {ANSWERS_WITHIN_S:g} s"
                self._become(Link("reconnecting", f"{message}; it is asked again"))
            except Exception:  # noqa: BLE001 - a bug of ours must not end the stream; logged and shown
                _log.exception("the event stream of %s failed", self.address.url)
                self._become(Link("reconnecting", "the event stream could not be read; the kernel's log says why"))
                delay_s = LONGEST_DELAY_S
            await asyncio.sleep(delay_s)

    async def _listen(self) -> None:
        # without patience: the client takes a hiccup up again where it was, what is longer comes back here and is shown
        events: Any = self.client.events(last_event_id=self._last_seq, patience_s=0)
        following: asyncio.Future[Event] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(events))
                while not (await asyncio.wait({following}, timeout=LOOKS_AFTER_S))[0]:
                    async with asyncio.timeout(ANSWERS_WITHIN_S):  # wait_for of 3.11 may swallow a cancellation
                        await self.client.health()
                event = following.result()
                stale = event.kind in (EventKind.RESET, EventKind.SERVICE_STATE)
                if event.kind is EventKind.RESET:
                    self._last_seq = None
                if event.seq is not None:
                    self._last_seq = event.seq
                if self.link.state != "live":
                    self.link, stale = Link("live"), True
                if event.kind is not EventKind.HEARTBEAT or stale:
                    self._tell(event, stale=stale)
        finally:
            if following is not None:
                await _ended(following)
            await events.aclose()

    def _become(self, link: Link) -> None:
        if link != self.link:
            self.link = link
            self._tell(None, stale=True)

    def _tell(self, event: Event | None, *, stale: bool) -> None:
        for subscription in self.subscriptions:
            subscription.note(event, stale=stale)


class LiveThread:
    """The thread with the loop that feeds run on; there is one a process while there are panels."""

    _shared: ClassVar[LiveThread | None] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._feeds: dict[Address, Feed] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="agent-panels", daemon=True)
        self._thread.start()

    @classmethod
    def subscribe(cls, address: Address, view: View) -> Subscription:
        """Let ``view`` follow a service, on the thread of all panels; it is started if there is none."""
        with cls._lock:
            thread = cls._shared = cls._shared or cls()
            feed = thread._feeds.get(address)  # noqa: SLF001 - our own instance
            new = feed is None
            if feed is None:
                feed = thread._feeds[address] = Feed(address)  # noqa: SLF001 - our own instance
            subscription = Subscription(thread, feed, view)
            feed.subscriptions |= {subscription}  # a frozenset: this replaces it
        thread.submit(_begin(subscription, feed if new else None))
        return subscription

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop; from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def leave(self, feed: Feed, subscription: Subscription) -> None:
        """End a subscription, and the feed and the thread with the last one; waits until that is done."""
        with self._lock:
            feed.subscriptions = feed.subscriptions - {subscription}
            empty = not feed.subscriptions
            if empty:
                del self._feeds[feed.address]
            last = not self._feeds
            if last:
                LiveThread._shared = None
        inside = threading.current_thread() is self._thread
        ended = self.submit(_end(subscription, feed if empty else None))
        if last:
            ended.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        if not inside:
            with contextlib.suppress(TimeoutError):
                ended.result(CLOSE_WITHIN_S)
            if last:
                self._thread.join(CLOSE_WITHIN_S)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()


async def _begin(subscription: Subscription, feed: Feed | None) -> None:
    if feed is not None:
        feed.begin()
    subscription.begin()


async def _end(subscription: Subscription, feed: Feed | None) -> None:
    await subscription.end()
    if feed is not None:
        await feed.end()


async def _ended(task: asyncio.Future[Any]) -> None:
    """Cancel a task until it is done: libraries have been seen to swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
