"""A leader and a standby on one journal: whoever is killed or paused, nothing is lost, doubled or out of its order."""

import contextlib

import pytest
from journal_writers import Writers


@pytest.fixture(scope="module")
def writers(postgres, tmp_path_factory):
    with contextlib.closing(Writers(tmp_path_factory.mktemp("writers"), postgres)) as one:
        yield one


def test_leaders_and_databases_are_killed_and_paused(writers):
    writers.kill_leader()
    writers.pause_leader()
    writers.pause_database(4)
    writers.crash_database(2)
    writers.kill_leader()
    assert writers.check() > 10
