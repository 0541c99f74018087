"""Thirty kills around a queue server, by a run an item and by sessions; `make chaos ARGS=queueserver` makes more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .queueserver import chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("per_item", ["run", pytest.param("session", marks=pytest.mark.long)])
def test_thirty_kills_around_a_queue_server(tmp_path: Path, per_item: str) -> None:
    chaos(tmp_path, kills=30, seed=int(os.environ.get("SEED", "2")), per_item=per_item)
