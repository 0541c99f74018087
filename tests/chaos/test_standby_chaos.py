"""Twenty faults of leaders and databases, of journals and of whole services; `make chaos ARGS=scale` makes more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from postgres_server import binaries

from . import postgresql, takeover, takeover_nats

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("SEED", "2"))


@pytest.fixture(autouse=True)
def _server() -> None:
    binaries()  # skips without a server


@pytest.mark.timeout(900)
def test_twenty_faults_around_two_services_on_a_queue_server_and_kafka(tmp_path: Path) -> None:
    takeover.chaos(tmp_path, kills=20, seed=SEED)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_twenty_faults_around_two_services_on_a_queue_server_and_nats(tmp_path: Path) -> None:
    takeover_nats.chaos(tmp_path, kills=20, seed=SEED)


@pytest.mark.timeout(900)
def test_twenty_faults_of_leaders_and_databases_and_a_minute_without_one(tmp_path: Path) -> None:
    postgresql.chaos(tmp_path, kills=20, seed=SEED)
