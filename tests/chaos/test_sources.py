"""What hears a facility's documents is killed a few times; by hand many times: ``make chaos ARGS=kafka``."""

import pytest

from . import kafka, nats


@pytest.mark.timeout(300)
@pytest.mark.parametrize("arrangement", [kafka, nats])
def test_each_run_is_in_the_spool_once_whenever_the_service_is_killed(tmp_path, arrangement):
    arrangement.chaos(tmp_path, kills=3, seed=5)
