"""The beam of a real IOC is lost thirty times in the middle of runs, and the service killed three times without it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .beam import chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
def test_thirty_losses_of_the_beam(tmp_path: Path) -> None:
    chaos(tmp_path, kills=30, seed=int(os.environ.get("SEED", "1")))
