"""What hears a facility's documents is killed thirty times; ``make chaos`` kills more."""

import pytest

from . import kafka, nats, tiled, zmq


@pytest.mark.timeout(300)
@pytest.mark.parametrize("arrangement", [kafka, nats])
def test_each_run_is_in_the_spool_once_whenever_the_service_is_killed(tmp_path, arrangement):
    arrangement.chaos(tmp_path, kills=30, seed=5)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("arrangement", [zmq, tiled])
def test_each_run_is_told_once_though_bus_catalogue_and_service_are_killed(tmp_path, arrangement):
    arrangement.chaos(tmp_path, kills=30, seed=5)
