"""When documents of a run may come still: the source that has them is, or was just now, away."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from agent_service.documents import gate_watch
from agent_service.documents.gate_watch import GateWatch
from agent_service.models import SourceState, utcnow


def watch_of(*sources):
    intake = SimpleNamespace(
        gate=SimpleNamespace(suspects={"r1": SimpleNamespace(suggestion_id="s1", reason="no end")})
    )
    return GateWatch(intake, sources, [], suggestions=list, on_change=lambda: None)


def source(state, since_s, *, elsewhere=True):
    since = utcnow() - timedelta(seconds=since_s)
    return SimpleNamespace(
        elsewhere=elsewhere, status=SimpleNamespace(kind="zmq", state=state, since=since, reason="nobody")
    )


@pytest.mark.parametrize(
    ("state", "since_s", "elsewhere", "may_come"),
    [
        (SourceState.CONNECTED, 3600, True, ""),
        (SourceState.RECONNECTING, 3600, True, "zmq is away: nobody"),
        (SourceState.CONNECTED, 1, True, "zmq was away until a moment ago"),
        (SourceState.RECONNECTING, 1, False, ""),
        (SourceState.CONNECTED, gate_watch.FOLLOWS_WITHIN_S + 1, True, ""),
    ],
)
def test_a_source_that_is_or_was_away_may_have_documents(state, since_s, elsewhere, may_come):
    there = source(SourceState.CONNECTED, 3600)
    assert watch_of(there, source(state, since_s, elsewhere=elsewhere)).may_come("s2") == may_come


def test_a_run_that_is_suspect_may_be_completed():
    assert watch_of(source(SourceState.CONNECTED, 3600)).may_come("s1") == "no end"
