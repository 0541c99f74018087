"""A Tiled that is the only source, and the service, are killed and stopped while runs go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import peers
from forked_python import forked_from

from .lossy import storm

if TYPE_CHECKING:
    from pathlib import Path


def chaos(folder: Path, *, kills: int, seed: int) -> None:
    """Make one storm."""
    with forked_from(*peers.OF_TILED) as popen, peers.tiled_server(folder, popen=popen) as server:
        sections = [{"kind": "tiled", "uri": server.uri}]
        storm(folder, kills=kills, seed=seed, server=server, bus=None, publish=None, sections=sections)
