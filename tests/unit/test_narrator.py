"""What the terminal of a service says of events."""

import pytest

from agent_service.cli.narrator import Narrator
from agent_service.models import Event, EventKind, utcnow


@pytest.fixture
def narrated():
    said = []
    narrator = Narrator("http://127.0.0.1:1", "key", say=said.append)

    def take(**data):
        narrator.on_event(Event(seq=1, time=utcnow(), agent="walker", kind=EventKind.AGENT_STATE, data=data))
        return said

    return take


def test_a_restart_by_itself_is_told_with_its_reason(narrated):
    reason = "restarting after suggest failed: ValueError: no (1 of 3), in 2 s"
    assert narrated(state="starting", reason=reason) == [f"agent walker is {reason}"]


@pytest.mark.parametrize(
    ("state", "reason", "says"),
    [
        ("lost", "ring 0.3 mA, needs > 100", "held: ring 0.3 mA, needs > 100"),
        ("met", "ring 300 mA", "beam is met again (ring 300 mA): the agents go on"),
        ("off", "switched off by amy: dark", "condition beam was switched off by amy: dark"),
    ],
)
def test_a_condition_is_told_in_a_line(state, reason, says):
    said = []
    data = {"condition": "beam", "state": state, "at": 1.0, "reason": reason}
    event = Event(seq=1, time=utcnow(), agent=None, kind=EventKind.CONDITION_STATE, data=data)
    Narrator("http://127.0.0.1:1", "key", say=said.append).on_event(event)
    assert said == [says]


def test_a_start_that_somebody_asked_for_is_not_told(narrated):
    assert narrated(state="starting", reason=None) == []
