"""A 0MQ proxy, which loses documents, a Tiled that has them, and the service are killed while runs go on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import peers
from forked_python import forked_from

from .lossy import storm

if TYPE_CHECKING:
    from pathlib import Path


def chaos(folder: Path, *, kills: int, seed: int) -> None:
    """Make one storm."""
    with (
        forked_from(*peers.OF_TILED, peers.OF_ZMQ, "bluesky.callbacks.zmq") as popen,
        peers.tiled_server(folder, popen=popen) as server,
        peers.zmq_proxy(folder, popen=popen) as proxy,
        contextlib.closing(peers.ZmqPublisher(proxy)) as publish,
    ):
        sections = [{"kind": "zmq", "address": f"127.0.0.1:{proxy.out}"}, {"kind": "tiled", "uri": server.uri}]
        storm(folder, kills=kills, seed=seed, server=server, bus=proxy, publish=publish, sections=sections)
