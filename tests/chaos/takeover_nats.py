"""The arrangement ``takeover`` with NATS: by consumers of their own, or by one that both have, as the seed says."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import takeover

if TYPE_CHECKING:
    from pathlib import Path


def chaos(folder: Path, *, kills: int, seed: int, say: Any = print) -> None:
    """Strike leaders and their database, between what people do."""
    bus = partial(takeover.nats, durable="" if seed % 2 else "beamline")
    takeover.chaos(folder, kills=kills, seed=seed, say=say, bus=bus)
