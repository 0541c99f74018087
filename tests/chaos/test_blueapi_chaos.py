"""Thirty kills of a service that measures at a blueapi, and of blueapi; `make chaos ARGS=blueapi` makes more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .blueapi import chaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(900)
def test_thirty_kills_while_connections_break_and_a_person_scans(tmp_path: Path) -> None:
    chaos(tmp_path, kills=30, seed=int(os.environ.get("SEED", "2")))
