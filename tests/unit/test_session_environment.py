"""A session whose worker does not know where the service is says what the worker's environment lacks."""

import pytest
from bluesky import RunEngine

from agent_service.client import claimer
from agent_service.client.session import run_session
from agent_service.errors import BackendUnavailable


@pytest.fixture
def engine():
    made = RunEngine({}, context_managers=[])
    yield made
    made.loop.call_soon_threadsafe(made.loop.stop)
    made._th.join(5)
    made.loop.close()


def test_a_worker_that_reaches_no_service_says_where_it_looked_and_what_to_set(engine, monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(claimer, "PATIENCE_S", 0.0)
    with pytest.raises(
        BackendUnavailable, match=r"did not reach the service at http://127.0.0.1:9, .* AGENT_SERVICE_U"
    ):
        engine(run_session("aligner", print, []))
