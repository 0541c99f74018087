"""A few kills of service, manager and worker of a queue server; `make chaos ARGS=queueserver` makes more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .queueserver import chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(400)
def test_a_few_kills_around_a_queue_server(tmp_path: Path) -> None:
    chaos(tmp_path, kills=6, seed=int(os.environ.get("SEED", "1")))
