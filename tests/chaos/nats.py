"""A service that hears NATS JetStream is killed between spool and acknowledgement, and at any other moment."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import peers

from .bus import storm

if TYPE_CHECKING:
    from pathlib import Path


def chaos(folder: Path, *, kills: int, seed: int) -> None:
    """Make one storm."""
    with peers.nats_server(folder) as server, contextlib.closing(peers.NatsPublisher(server.servers)) as publish:
        section = {"kind": "nats", "servers": server.servers, "durable": "agents"}
        storm(folder, kills=kills, seed=seed, section=section, publish=publish)
