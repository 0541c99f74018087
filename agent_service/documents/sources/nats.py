"""Source ``nats``: documents out of a JetStream stream. A message is acknowledged when the spool has its document."""

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
from agent_service.documents.sources.connection import ConnectedSource, hand_over
from agent_service.documents.sources.extras import needs
from agent_service.documents.sources.presence import Presence
from agent_service.errors import BackendUnavailable
from agent_service.errors.texts import without_keys

if TYPE_CHECKING:
    import threading


_BATCH: Final = 200
_WAITS_S: Final = 0.2
_COMES_AGAIN_S: Final = 4.0
"""After how long a message comes again that nobody acknowledged; less than `gate.SETTLES_S`."""

_MOST_WAITING: Final = 20_000
_LAG_EVERY_S: Final = 5.0


class NatsSource(ConnectedSource):
    """A durable consumer of a stream, which the server remembers while this service is away.

    Parameters
    ----------
    servers
        ``nats://host:port``, or several with commas.
    stream, subject
        The stream, and which of its subjects: the last word of each is the kind of its document.
    durable
        Name of the consumer, of this service alone.
    credentials
        File with credentials; empty for none.
    """

    def __init__(self, servers: str, *, stream: str, subject: str, durable: str, credentials: str = "") -> None:
        self._nats: Any = needs("nats", kind="nats")
        self._servers = [server.strip() for server in servers.split(",")]
        self._stream = stream
        self._subject = subject
        self._durable = durable
        self._credentials = credentials
        super().__init__(Presence("nats", without_keys(servers)), lambda stopping: asyncio.run(self._hear(stopping)))

    # in the source's thread ---------------------------------------------------------------------------------------

    async def _hear(self, stopping: threading.Event) -> None:
        async def ignore(_: object = None) -> None:
            """Keep the library from printing; what is wrong is said below."""

        options = {"user_credentials": self._credentials} if self._credentials else {}
        client = await self._nats.connect(
            self._servers, allow_reconnect=False, connect_timeout=5, error_cb=ignore, closed_cb=ignore, **options
        )
        try:
            subscription = await self._subscribe(client)
            self.presence.connected()
            lag_due = 0.0
            while not stopping.is_set():
                if client.is_closed or not client.is_connected:
                    raise BackendUnavailable("nobody answers there")
                with contextlib.suppress(TimeoutError):  # the library raises its own, or asyncio's
                    for message in await subscription.fetch(_BATCH, timeout=_WAITS_S):
                        self._take(message)
                if (now := time.monotonic()) >= lag_due:
                    lag_due = now + _LAG_EVERY_S
                    try:
                        consumer = await subscription.consumer_info()
                    except TimeoutError as error:
                        raise BackendUnavailable("its JetStream does not answer") from error
                    self.presence.lag = (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.close(), 1)

    async def _subscribe(self, client: Any) -> Any:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy  # noqa: PLC0415 - an extra

        config = ConsumerConfig(
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=_COMES_AGAIN_S,
            max_ack_pending=_MOST_WAITING,
            deliver_policy=DeliverPolicy.BY_START_TIME,  # the first plan may run before the consumer is there
            opt_start_time=datetime.fromtimestamp(self._wants_since, UTC),
        )
        try:
            return await client.jetstream().pull_subscribe(
                self._subject, durable=self._durable, stream=self._stream, config=config
            )
        except self._nats.js.errors.NotFoundError as error:
            raise BackendUnavailable(f"there is no stream {self._stream} in its JetStream") from error

    def _take(self, message: Any) -> None:
        loop, name = asyncio.get_running_loop(), str(message.subject).rpartition(".")[2]
        try:
            pair = document(name, unpack(message.data))
        except Unreadable as error:
            self.presence.refuse(str(error))
            self._acknowledge(loop, message)
            return
        if (intake := self._intake) is not None:
            hand_over(intake, *pair, partial(self._acknowledge, loop, message))

    @staticmethod
    def _acknowledge(loop: asyncio.AbstractEventLoop, message: Any) -> None:
        """Acknowledge a message; from any thread. Where that fails it comes again, and is known."""

        async def acknowledge() -> None:
            with contextlib.suppress(Exception):
                await message.ack()

        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: loop.create_task(acknowledge()))
