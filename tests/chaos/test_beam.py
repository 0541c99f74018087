"""The beam of a real IOC is lost ten times in the middle of runs, and the service killed once without it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .beam import chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
def test_ten_losses_of_the_beam(tmp_path: Path) -> None:
    chaos(tmp_path, kills=10, seed=int(os.environ.get("SEED", "1")))
