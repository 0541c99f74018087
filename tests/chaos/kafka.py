"""A service that hears a Kafka broker is killed between spool and commit, and at any other moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import peers

from .bus import storm

if TYPE_CHECKING:
    from pathlib import Path


def chaos(folder: Path, *, kills: int, seed: int) -> None:
    """Make one storm."""
    with peers.kafka_broker(folder) as broker:
        # so that the broker gives up who was killed, and lets the next one in, as soon as it can
        options = {"session.timeout.ms": 1000, "heartbeat.interval.ms": 300}
        where = {"topics": [broker.topic], "servers": broker.servers, "group": "agents"}
        section = {"kind": "kafka", **where, "options": options}
        storm(
            folder,
            kills=kills,
            seed=seed,
            section=section,
            publish=peers.KafkaPublisher(broker.servers, broker.topic),
        )
