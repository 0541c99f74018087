"""Source ``kafka``: a beamline's topics. An offset is committed when the spool has its document."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# a boundary: confluent_kafka's types are those of its C

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.documents.packing import Unreadable, document, unpack
from agent_service.documents.sources.acknowledged import Acknowledged, Unstored
from agent_service.documents.sources.connection import ConnectedSource, hand_over
from agent_service.documents.sources.extras import needs
from agent_service.documents.sources.presence import Presence
from agent_service.errors import BackendUnavailable, UsageError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping


CONFIG_FILE: Final = "/etc/bluesky/kafka.yml"
"""Where NSLS-II keeps what its publishers need; ``BLUESKY_KAFKA_CONFIG_PATH`` names another."""

_BATCH: Final = 500
_WAITS_S: Final = 0.1
_COMMITS_EVERY_S: Final = 0.2
_LAG_EVERY_S: Final = 5.0
_CALL_S: Final = 10.0
_TOPICS_EVERY_MS: Final = 5000
"""How often it is asked which topics there are; librdkafka's own five minutes are a long time without a new one."""

_PRODUCERS_ONLY: Final = (
    "acks",
    "message.",
    "compression.",
    "linger.",
    "batch.",
    "queue.buffering.",
    "enable.idempotence",
)
"""What in a producer's configuration a consumer does not know."""


class KafkaSource(ConnectedSource):
    """Consumes a topic as a member of a group of its own; a message is committed when its document is on disk.

    Parameters
    ----------
    topics
        Topics, such as ``bl.bluesky.runengine.documents``.
    servers
        ``host:port,...``; empty: those of the site's configuration.
    group
        Consumer group of this service alone: two that share one would each hear half.
    options
        More of librdkafka's configuration; it wins over the site's.
    needed_since
        Returns the time (s) from which on documents are needed, or None.
    again
        Whether they are needed even where the broker knows that this service, or another, has them.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        topics: list[str],
        *,
        servers: str = "",
        group: str,
        options: Mapping[str, Any],
        needed_since: Callable[[], float | None] = lambda: None,
        again: bool = True,
    ) -> None:
        self._kafka: Any = needs("confluent_kafka", kind="kafka")
        site = site_configuration() if not servers else {}
        self._topics = topics
        self._configuration: dict[str, Any] = {
            **site,
            **({"bootstrap.servers": servers} if servers else {}),
            "group.id": group,
            "fetch.wait.max.ms": 10,
            "topic.metadata.refresh.interval.ms": _TOPICS_EVERY_MS,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 1000,
            **options,
            "on_commit": self._note_commit,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",  # of a partition that comes later; see `_begin` for the first start
        }
        if not self._configuration.get("bootstrap.servers"):
            raise UsageError(f"the source kafka needs servers: give them, or a file {_site_file()} as NSLS-II has it")
        try:
            self._kafka.Consumer(
                self._configuration, logger=_quiet()
            ).close()  # it looks at each option, and at no broker
        except (self._kafka.KafkaException, ValueError, TypeError) as error:
            why = error.args[0].str() if hasattr(error.args[0], "str") else error
            raise UsageError(f"the source kafka cannot be made with these options: {why}") from error
        where = str(self._configuration["bootstrap.servers"])
        super().__init__(Presence("kafka", where), self._hear, needed_since, again=again)
        self._partitions: dict[tuple[str, int], Acknowledged] = {}
        self._unstored, self._is_held = Unstored(), False
        self._reached: dict[tuple[str, int], int] = {}  # of partitions that another consumer had in between
        self.commits_until: float | None = None  # how long the answer to the commit under way is waited for

    # in the source's thread ---------------------------------------------------------------------------------------

    def _hear(self, stopping: threading.Event) -> None:
        self._reached |= {key: kept.upto for key, kept in self._partitions.items()}
        self._partitions, self.commits_until = {}, None
        errors: list[Any] = []
        consumer = self._kafka.Consumer({**self._configuration, "error_cb": errors.append}, logger=_quiet())
        try:
            consumer.subscribe(
                self._topics,
                on_assign=self._begin,
                on_revoke=self._give_back,
                on_lost=self._lose,
            )
            commit_due = lag_due = 0.0
            while not stopping.is_set():
                self._hold(consumer)
                for message in consumer.consume(_BATCH, timeout=_WAITS_S):
                    if message.error() is None:
                        self._take(message)
                    elif message.error().code() != self._kafka.KafkaError._PARTITION_EOF:  # noqa: SLF001
                        errors.append(message.error())
                self._say(errors)
                if (now := time.monotonic()) >= commit_due:
                    commit_due = now + _COMMITS_EVERY_S
                    self._commit(consumer)
                    if self._partitions and not self.presence.is_connected and self._is_back(consumer):
                        self.presence.connected()
                if now >= lag_due and self.presence.is_connected:
                    lag_due = now + _LAG_EVERY_S
                    self.presence.lag = self._lag(consumer)
            self._commit(consumer)
        finally:
            consumer.close()

    def _say(self, errors: list[Any]) -> None:
        """Say what is wrong; librdkafka goes on by itself."""
        while errors:
            error = errors.pop(0)
            if error.fatal():
                raise BackendUnavailable(str(error.str()))
            kinds, code = self._kafka.KafkaError, error.code()
            if code == kinds._ALL_BROKERS_DOWN or (code == kinds._TRANSPORT and not self.presence.is_connected):  # noqa: SLF001
                self.presence.away("none of its brokers answers")
            elif code == kinds.UNKNOWN_TOPIC_OR_PART:
                self.presence.away(f"there is no topic {', '.join(self._topics)}")
            elif not self.presence.is_connected:
                self.presence.away(str(error.str()))

    def _begin(self, consumer: Any, partitions: list[Any]) -> None:
        """Go on behind what was committed; a group that is new begins where the service did, and says so at once."""
        if not partitions:  # as when a service that was taken over from is paused: for a while it has them yet
            group = self._configuration["group.id"]
            self.presence.away(f"another consumer of the group {group!r} hears its topics, or they have no partition")
            return
        needed = {} if self._again_since is None else self._offsets_at(consumer, partitions, self._again_since)
        for partition in consumer.committed(partitions, timeout=_CALL_S):
            committed = partition.offset
            key = (partition.topic, partition.partition)
            if partition.offset < 0:  # the end first: what comes between the two questions is behind either
                _, end = consumer.get_watermark_offsets(partition, timeout=_CALL_S)
                began = self._offsets_at(consumer, [partition], self._wants_since)
                partition.offset = min(end, began.get(key, end))
            # what another consumer of the group committed meanwhile is on its disk, and not on this one
            partition.offset = min(
                offsets[key] for offsets in ({key: partition.offset}, needed, self._reached) if key in offsets
            )
            if partition.offset != committed:  # at once: who has the partition after this goes on there
                consumer.commit(offsets=[partition], asynchronous=False)
            self._partitions[key] = Acknowledged(partition.offset)
        self._again_since = None
        consumer.assign(
            [self._position(topic, number, kept.upto) for (topic, number), kept in self._partitions.items()]
        )
        self.presence.connected()

    def _offsets_at(self, consumer: Any, partitions: list[Any], time_s: float) -> dict[tuple[str, int], int]:
        """Return where messages of a time and later begin, of the partitions that have some."""
        asked = [self._position(partition.topic, partition.partition, int(time_s * 1000)) for partition in partitions]
        offsets = consumer.offsets_for_times(asked, timeout=_CALL_S)
        return {(at.topic, at.partition): at.offset for at in offsets if at.offset >= 0}

    def _give_back(self, consumer: Any, partitions: list[Any]) -> None:
        self._commit(consumer)
        self._forget(partitions)

    def _lose(self, consumer: Any, partitions: list[Any]) -> None:
        self._forget(partitions)

    def _forget(self, partitions: list[Any]) -> None:
        for key in [(partition.topic, partition.partition) for partition in partitions]:
            if (kept := self._partitions.pop(key, None)) is not None:
                self._reached[key] = kept.upto
        if not self._partitions and self._intake is not None:  # else it is being stopped
            self.presence.away("its brokers give the partitions of its group out anew")

    def _take(self, message: Any) -> None:
        self.presence.connected()
        kept = self._partitions.get((message.topic(), message.partition()))
        if kept is None or (intake := self._intake) is None:
            return
        body, where = message.value() or b"", (kept, message.offset())
        kept.begin(message.offset())
        try:
            pair = document(*_pair(unpack(body)))
        except Unreadable as error:
            self.presence.refuse(str(error))
            kept.done(message.offset())
            return
        self._unstored.begin(where, len(body))
        hand_over(intake, *pair, partial(self._stored, *where))

    def _stored(self, kept: Acknowledged, offset: int) -> None:
        """Note that a message is on disk; from any thread."""
        kept.done(offset)
        self._unstored.done((kept, offset))

    def _hold(self, consumer: Any) -> None:
        """Let the brokers keep what there is no room for; what was fetched already is with them too then."""
        if (holds := self._unstored.full) or self._is_held:  # held each time, as partitions may be new
            partitions = [self._position(topic, number, 0) for topic, number in self._partitions]
            (consumer.pause if holds else consumer.resume)(partitions)
            self._is_held = holds

    def _commit(self, consumer: Any) -> None:
        """Commit up to where everything is on disk, without waiting for it: a broker that dies then never answers."""
        now = time.monotonic()
        if self.commits_until is not None and now < self.commits_until:
            return
        ready = [(key, upto) for key, kept in self._partitions.items() if (upto := kept.to_commit()) is not None]
        if ready:
            self.commits_until = now + _CALL_S
            try:
                consumer.commit(
                    offsets=[self._position(topic, number, upto) for (topic, number), upto in ready], asynchronous=True
                )
            except self._kafka.KafkaException as error:
                self._note_commit(error.args[0], [])

    def _note_commit(self, error: Any, partitions: list[Any]) -> None:
        """Note what became of a commit; what was not committed is with the next one, and what comes again is known."""
        self.commits_until = None
        error = error or next((partition.error for partition in partitions if partition.error is not None), None)
        if error is None:
            for partition in partitions:
                if (kept := self._partitions.get((partition.topic, partition.partition))) is not None:
                    kept.committed(partition.offset)
        elif self.presence.is_connected:  # else it is said why
            self.presence.away(f"offsets cannot be committed: {error.str()}")

    def _is_back(self, consumer: Any) -> bool:
        """Return whether a broker that was away answers again; no message says so where none is published."""
        try:
            consumer.list_topics(self._topics[0], timeout=_WAITS_S)
        except self._kafka.KafkaException:
            return False
        return True

    def _lag(self, consumer: Any) -> int:
        """Return how many messages the brokers have that are not on disk here."""
        behind = 0
        for (topic, number), kept in self._partitions.items():
            _, end = consumer.get_watermark_offsets(self._position(topic, number, 0), cached=True)
            behind += max(0, end - kept.upto)
        return behind

    def _position(self, topic: str, number: int, offset: int) -> Any:
        return self._kafka.TopicPartition(topic, number, offset)


def site_configuration() -> dict[str, Any]:
    """Return what a consumer can use of the site's configuration; nothing where there is none.

    Raises
    ------
    UsageError
        The file is not as expected.
    """
    path = _site_file()
    if not path.exists():
        return {}
    import yaml  # noqa: PLC0415 - only where there is such a file

    try:
        settings = cast("dict[str, Any]", yaml.safe_load(path.read_text(encoding="utf-8")))
        servers = settings["bootstrap_servers"]
        given: dict[str, Any] = {**(settings.get("runengine_producer_config") or {})}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UsageError(f"{path} has no bootstrap_servers that could be read: {type(error).__name__}") from error
    known = {key: value for key, value in given.items() if not key.startswith(_PRODUCERS_ONLY)}
    return {**known, "bootstrap.servers": servers if isinstance(servers, str) else ",".join(servers)}


def _site_file() -> Path:
    return Path(os.environ.get("BLUESKY_KAFKA_CONFIG_PATH", CONFIG_FILE))


def _pair(message: Any) -> tuple[object, object]:
    match message:
        case [name, body]:
            return name, body
        case _:
            raise Unreadable("it publishes something that is no name and document")


def _quiet() -> Any:
    """Return a logger for librdkafka's lines, which say every second that a broker is away."""
    import logging  # noqa: PLC0415 - here only

    logger = logging.getLogger("agent_service.documents.sources.librdkafka")
    logger.setLevel(logging.CRITICAL)
    return logger
