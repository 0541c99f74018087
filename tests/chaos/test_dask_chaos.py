"""Twenty faults of a Dask cluster, each kind five times: a worker and the scheduler, killed and paused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .dask import chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(900)
def test_twenty_faults_of_workers_and_schedulers(tmp_path: Path) -> None:
    chaos(tmp_path, kills=20, seed=int(os.environ.get("SEED", "1")))
