"""A service that hears a Kafka broker is killed between spool and commit, and at any other moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import peers
from confluent_kafka import Consumer, TopicPartition
from services import wait_until

from .bus import storm

if TYPE_CHECKING:
    from pathlib import Path


def chaos(folder: Path, *, kills: int, seed: int) -> None:
    """Make one storm."""
    with peers.kafka_broker(folder) as broker:
        group = {"bootstrap.servers": broker.servers, "group.id": "agents"}

        def ready() -> None:
            """Return when the group has a place in the topic: it begins at the end."""
            consumer = Consumer(group)
            where = [TopicPartition(broker.topic, 0)]
            wait_until(lambda: consumer.committed(where, timeout=10)[0].offset >= 0, within_s=60, what="the group")
            consumer.close()

        section = {"kind": "kafka", "topics": [broker.topic], "servers": broker.servers, "group": "agents"}
        storm(
            folder,
            kills=kills,
            seed=seed,
            section=section,
            publish=peers.KafkaPublisher(broker.servers, broker.topic),
            ready=ready,
        )
