"""Eight kills around two services on a queue server; `make chaos ARGS="takeover postgresql"` makes more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from postgres_server import binaries

from .takeover import chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(900)
def test_eight_kills_around_two_services(tmp_path: Path) -> None:
    binaries()  # skips without a server
    chaos(tmp_path, kills=8, seed=int(os.environ.get("SEED", "2")))
