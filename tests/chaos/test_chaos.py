"""A service, or a part of it, is killed in the middle of its work, and nothing acknowledged is lost or altered."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from . import engine
from .names import measure
from .storm import storm

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(600)
def test_fifteen_kills(tmp_path: Path) -> None:
    storm(tmp_path, kills=15, seed=int(os.environ.get("SEED", "1")))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_names_and_values_drawn_at_random_while_the_archive_is_killed(tmp_path: Path) -> None:
    measure(tmp_path, examples=30, number=int(os.environ.get("SEED", "1")))


@pytest.mark.timeout(900)
def test_thirty_kills_of_a_service_and_the_process_of_its_run_engine(tmp_path: Path) -> None:
    engine.chaos(tmp_path, kills=30, seed=int(os.environ.get("SEED", "1")))
