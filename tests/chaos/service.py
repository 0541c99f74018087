"""A service, its agents and its archive are killed; names and values of devices are drawn at random, twice as many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .names import measure
from .storm import storm

if TYPE_CHECKING:
    from pathlib import Path


def chaos(folder: Path, *, kills: int, seed: int) -> None:
    """Make one storm, and measure what is drawn."""
    for name in ("storm", "names"):
        (folder / name).mkdir()
    storm(folder / "storm", kills=kills, seed=seed)
    measure(folder / "names", examples=2 * kills, number=seed)
