"""What the terminal of a service says of events."""

import pytest

from agent_service.cli.narrator import Narrator
from agent_service.models import Event, EventKind, utcnow


@pytest.fixture
def narrated():
    said = []
    narrator = Narrator("http://127.0.0.1:1", "key", say=said.append)

    def take(**data):
        narrator.take(Event(seq=1, time=utcnow(), agent="walker", kind=EventKind.AGENT_STATE, data=data))
        return said

    return take


def test_a_restart_by_itself_is_told_with_its_reason(narrated):
    reason = "restarting after suggest failed: ValueError: no (1 of 3), in 2 s"
    assert narrated(state="starting", reason=reason) == [f"agent walker is {reason}"]


def test_a_start_that_somebody_asked_for_is_not_told(narrated):
    assert narrated(state="starting", reason=None) == []
