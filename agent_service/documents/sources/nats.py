"""Source ``nats``: documents out of a JetStream stream. A message is acknowledged when the spool has its document.

What another service acknowledged is on that one's disk only. So a service that takes over reads the stream once more,
from the time on from which documents are needed, and reads what another consumer of the same name was given meanwhile.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: nats-py is half typed

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from agent_service.documents.packing import Unreadable, document, unpack
from agent_service.documents.sources.acknowledged import MOST_UNSTORED, Unstored
from agent_service.documents.sources.connection import ConnectedSource, hand_over
from agent_service.documents.sources.nats_client import NatsClient, close
from agent_service.documents.sources.presence import Presence
from agent_service.errors import BackendUnavailable
from agent_service.errors.texts import without_keys

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable


_BATCH: Final = 200
_WAITS_S: Final = 0.2
_COMES_AGAIN_S: Final = 4.0
"""After how long a message comes again that nobody acknowledged; less than `gate.SETTLES_S`."""

_LAG_EVERY_S: Final = 5.0
_AGAIN_EVERY_S: Final = 1.0
_LEFT_ALONE_S: Final = 30.0
"""How long the server keeps a consumer that reads the stream once more, when its service dies meanwhile."""

FORGOTTEN_AFTER_S: Final = 7 * 86_400.0
"""How long the server keeps the consumer of a service that is away; as long as Kafka keeps the offsets of a group."""


class NatsSource(ConnectedSource):
    """A durable consumer of a stream, which the server remembers while this service is away.

    Parameters
    ----------
    client
        Connects to a server.
    stream, subject
        The stream, and which of its subjects: the last word of each is the kind of its document.
    durable
        Name of the site's consumer, for this service alone; it is used as it is. Empty: ``own``.
    own
        Name of the consumer that the service makes and keeps up to date by itself, of this service alone.
    needed_since
        Returns the time (s) from which on documents are needed, or None.
    again
        Whether they are needed even where the broker knows that this service, or another, has them.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        client: NatsClient,
        *,
        stream: str,
        subject: str,
        durable: str = "",
        own: str = "",
        needed_since: Callable[[], float | None] = lambda: None,
        again: bool = True,
    ) -> None:
        self._client = client
        self._stream = stream
        self._subject = subject
        self._durable = durable or own
        self._is_own = not durable
        self._again_from: dict[str, Any] = {}  # where in the stream to begin once more
        self._given: tuple[int, int] | None = None  # numbers of the last message in its consumer, and in the stream
        self._delivered: tuple[int, int] | None = None  # as `_given`, and of the last one that anybody was given
        self._unstored = Unstored()
        super().__init__(Presence("nats", without_keys(client.servers)), self._work, needed_since, again=again)

    # in the source's thread ---------------------------------------------------------------------------------------

    def _work(self, stopping: threading.Event) -> None:
        asyncio.run(self._until(stopping))

    async def _until(self, stopping: threading.Event) -> None:
        """Hear until the source is stopped, whatever is waited for then."""
        hearing = asyncio.create_task(self._hear())
        while not stopping.is_set() and not hearing.done():
            await asyncio.wait({hearing}, timeout=_WAITS_S)
        if not hearing.done():
            hearing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hearing

    async def _hear(self) -> None:
        client = await self._client.connect()
        try:
            await self._follow(client)
        except TimeoutError as error:
            raise BackendUnavailable(self._unanswered()) from error
        except self._client.library.js.errors.ServiceUnavailableError as error:
            raise BackendUnavailable("its stream or consumer was deleted, or its JetStream is off") from error
        finally:
            await close(client)

    async def _follow(self, client: Any) -> None:
        context = client.jetstream()
        subscription = await self._subscribe(context)
        again_due = lag_due = 0.0
        if self._again_since is not None:
            self._again_from, self._again_since = _since(self._again_since), None
        while True:
            if client.is_closed or not client.is_connected:
                raise BackendUnavailable("nobody answers there")
            if self._again_from and time.monotonic() >= again_due:
                await self._hear_again(context)
                again_due = time.monotonic() + _AGAIN_EVERY_S
            self.presence.connected()
            await self._fetch(subscription)
            if (now := time.monotonic()) >= lag_due:
                lag_due = now + _LAG_EVERY_S
                consumer = await subscription.consumer_info()
                self._delivered = consumer.delivered.consumer_seq, consumer.delivered.stream_seq
                self.presence.lag = (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)

    async def _subscribe(self, context: Any) -> Any:
        """Return a subscription to the durable consumer, which is made if it is not there."""
        from nats.js.api import AckPolicy, ConsumerConfig  # noqa: PLC0415 - an extra

        missing = self._client.library.js.errors.NotFoundError
        ours: dict[str, Any] = {"filter_subject": self._subject}
        if self._is_own:
            ours["inactive_threshold"] = FORGOTTEN_AFTER_S
        try:
            try:
                consumer = await context.consumer_info(self._stream, self._durable)
                _check_kind(consumer)
                if self._is_own and consumer.config != (wanted := consumer.config.evolve(**ours)):
                    await context.add_consumer(self._stream, wanted)
            except missing:
                config = ConsumerConfig(
                    name=self._durable,
                    durable_name=self._durable,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=_COMES_AGAIN_S,
                    max_ack_pending=MOST_UNSTORED,
                    **_since(self._wants_since),  # the first plan may run before the consumer is there
                    **ours,
                )
                consumer = await context.add_consumer(self._stream, config)
        except missing as error:
            raise BackendUnavailable(f"there is no stream {self._stream} in its JetStream") from error
        if self._given is None:
            self._given = consumer.delivered.consumer_seq, consumer.delivered.stream_seq
        return await context.pull_subscribe_bind(consumer=self._durable, stream=self._stream)

    def _unanswered(self) -> str:
        """Return why the server gave no answer."""
        forbidden = self._client.forbidden
        return f"its user is not allowed that: {forbidden[-1]}" if forbidden else "its JetStream does not answer"

    async def _hear_again(self, context: Any) -> None:
        """Hear the stream once more, to its present end, by a consumer that is there for no longer."""
        from nats.js.api import AckPolicy, ConsumerConfig  # noqa: PLC0415 - an extra

        begin, self._again_from = self._again_from, {}
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, inactive_threshold=_LEFT_ALONE_S, mem_storage=True, **begin)
        try:
            again = await context.pull_subscribe(self._subject, stream=self._stream, config=config)
        except (self._client.library.js.errors.Error, TimeoutError) as error:
            if isinstance(error, TimeoutError) and not self._client.forbidden:
                self._again_from = begin
                raise
            why = self._unanswered() if isinstance(error, TimeoutError) else error
            self.presence.refuse(f"what another service heard of it cannot be heard again: {why}")
            return
        try:
            consumer = await again.consumer_info()
            waits = consumer.num_pending
            while waits:
                for message in await self._fetched(again):
                    self._take(message)
                    waits = message.metadata.num_pending
            with contextlib.suppress(Exception):  # the server ends it by itself, too
                await context.delete_consumer(self._stream, consumer.name)
        except BaseException:
            self._again_from = begin
            raise
        finally:
            await again.unsubscribe()

    async def _fetch(self, subscription: Any) -> None:
        """Take what the durable consumer gives; what it gave somebody else in between is to be heard again."""
        messages = await self._fetched(subscription)
        delivered, (before, upto) = self._delivered, self._given or (0, 0)
        if not messages and not self._unstored.full and delivered and delivered[0] > before:
            self._was_given_away(upto)  # none is on its way here, and none of ours may come to show the gap
            self._given = delivered
        for message in messages:
            here, (before, upto) = message.metadata.sequence, self._given or (0, 0)
            if here.consumer > before + 1:
                self._was_given_away(upto)
            self._given = here.consumer, max(upto, here.stream) if here.consumer > before else here.stream
            self._take(message)

    def _was_given_away(self, upto: int) -> None:
        """Say that another service was given messages after number ``upto`` of the stream; they are to be heard."""
        self.presence.refuse(
            f"another service takes messages of its consumer {self._durable}, which are heard again; let each have a "
            "durable of its own"
        )
        self._again_from = self._again_from or _numbered(upto + 1)

    async def _fetched(self, subscription: Any) -> list[Any]:
        """Return messages that come within a while; none while there is no room for them."""
        if self._unstored.full:
            await asyncio.sleep(_WAITS_S)
            return []
        with contextlib.suppress(TimeoutError):  # the library raises its own, or asyncio's
            return await subscription.fetch(_BATCH, timeout=_WAITS_S)
        return []

    def _take(self, message: Any) -> None:
        number = message.metadata.sequence.stream
        if (intake := self._intake) is None or not self._unstored.begin(number, len(message.data)):
            return  # it came again before the disk had it; once that has it the server is told, or gives it once more
        stored = partial(self._stored, number, asyncio.get_running_loop(), message)
        try:
            pair = document(str(message.subject).rpartition(".")[2], unpack(message.data))
        except Unreadable as error:
            self.presence.refuse(str(error))
            stored()
            return
        hand_over(intake, *pair, stored)

    def _stored(self, number: int, loop: asyncio.AbstractEventLoop, message: Any) -> None:
        """Acknowledge a message; from any thread. Where that fails it comes again, and is known."""
        self._unstored.done(number)

        async def acknowledge() -> None:
            with contextlib.suppress(Exception):
                await message.ack()

        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: loop.create_task(acknowledge()))


def _since(time_s: float) -> dict[str, Any]:
    """Return a consumer's settings to begin at a time (s since 1970)."""
    return {"deliver_policy": "by_start_time", "opt_start_time": datetime.fromtimestamp(time_s, UTC)}


def _numbered(number: int) -> dict[str, Any]:
    """Return a consumer's settings to begin at a message of the stream."""
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": number}


def _check_kind(consumer: Any) -> None:
    """Raise `BackendUnavailable` for a consumer of the site's that nothing can be heard by, or not safely."""
    if consumer.config.deliver_subject:
        raise BackendUnavailable(f"its consumer {consumer.name} is one that pushes; make it one to pull from")
    if consumer.config.ack_policy != "explicit":
        raise BackendUnavailable(f"its consumer {consumer.name} must have the acknowledgement policy explicit")
