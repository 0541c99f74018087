"""Intervals in which a condition was not met, and the runs that overlap them."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings, strategies as st

from agent_service.agents.losses import KEPT, Losses
from agent_service.agents.record.service import ServiceRecord
from agent_service.models import Event, EventKind, utcnow

STEPS = st.lists(st.integers(-100, 100), max_size=20)
"""How much later it was lost, or (below zero) met again."""

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def losses_of(steps):
    losses, now = Losses(), 0
    for step in steps:
        now += abs(step)
        losses.begin(now, "no beam") if step > 0 else losses.end(now)
    return losses


@CALM
@given(steps=STEPS, start=st.integers(0, 3000), length=st.integers(0, 300))
def test_a_run_overlaps_a_loss_when_it_shares_a_moment_with_it(steps, start, length):
    losses = losses_of(steps)
    covered = any(
        one.begin <= moment and (one.end is None or moment <= one.end)
        for one in losses.intervals
        for moment in {start, start + length, one.begin, one.end}
        if moment is not None and start <= moment <= start + length
    )
    assert (losses.overlapping(start, start + length) is not None) is covered


@CALM
@given(steps=STEPS)
def test_intervals_are_in_order_and_only_the_last_lasts(steps):
    losses = losses_of(steps)
    ends = [one.end for one in losses.intervals]
    assert None not in ends[:-1]
    assert all(one.end is None or one.begin <= one.end for one in losses.intervals)
    assert all(
        before.end is not None and before.end < after.begin
        for before, after in zip(losses.intervals, losses.intervals[1:], strict=False)
    )


@CALM
@given(steps=STEPS)
def test_a_snapshot_of_them_is_the_same(steps):
    losses = losses_of(steps)
    assert Losses.from_json(losses.as_json()) == losses


@CALM
@given(steps=STEPS, seconds=st.integers(0, 200))
def test_the_last_long_one_is_over_and_longer(steps, seconds):
    losses = losses_of(steps)
    long = [one for one in losses.intervals if one.end is not None and one.end - one.begin > seconds]
    assert losses.last_longer_than(seconds) == (long[-1] if long else None)


def test_a_loss_that_reaches_back_into_the_one_before_is_one_with_it():
    losses = Losses()
    losses.begin(10, "no beam")
    losses.end(20)
    losses.begin(15, "no beam again")
    assert [(one.begin, one.end) for one in losses.intervals] == [(10, None)]
    losses.end(30)
    losses.end(40)
    assert [(one.begin, one.end) for one in losses.intervals] == [(10, 30)]


def test_a_snapshot_of_the_service_has_them_and_one_from_before_has_none():
    record = ServiceRecord()
    for state, at in (("lost", 5.0), ("met", 7.0), ("off", 9.0)):
        data = {"condition": "beam", "state": state, "at": at, "reason": "no beam", "who": "amy"}
        record.apply(Event(seq=1, time=utcnow(), agent=None, kind=EventKind.CONDITION_STATE, data=data))
    snapshot = record.as_json()
    assert ServiceRecord.from_json(snapshot).conditions == record.conditions
    assert record.conditions["beam"].off_by == "amy"
    del snapshot["conditions"]
    assert ServiceRecord.from_json(snapshot).conditions == {}


def test_the_oldest_are_forgotten():
    losses = Losses()
    for number in range(KEPT + 5):
        losses.begin(2 * number, "no beam")
        losses.end(2 * number + 1)
    assert (len(losses.intervals), losses.intervals[0].begin) == (KEPT, 10)
