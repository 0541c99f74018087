"""Each of a Dask cluster's faults once: a worker and the scheduler, killed and paused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .dask import chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(900)
def test_each_fault_once(tmp_path: Path) -> None:
    chaos(tmp_path, kills=4, seed=int(os.environ.get("SEED", "1")))
