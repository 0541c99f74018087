"""The service is killed fifteen times in the middle of its work, and nothing that it acknowledged is lost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .storm import storm

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(600)
def test_fifteen_kills(tmp_path: Path) -> None:
    storm(tmp_path, kills=15, seed=int(os.environ.get("SEED", "1")))
