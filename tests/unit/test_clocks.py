"""Guardrails hang on no clock that can be set: not the rate, nor the budget of time."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from agent_service.agents import guardrail_checks
from agent_service.agents.record.agent import AgentRecord
from agent_service.agents.record.service import ServiceRecord
from agent_service.models import AgentSpec, Event, EventKind, Guardrails

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = AgentSpec(name="a", type="sobol", actuators=["x"], outcome="signal", guardrails={"max_runs_per_minute": 2})
RAILS = Guardrails(max_runs_per_minute=2)


def fold(*told, times=None):
    record = AgentRecord(SPEC, NOW)
    for number, data in enumerate(told):
        at = NOW if times is None else NOW + timedelta(seconds=times[number])
        kind = EventKind.QUEUE_STATE if "command" in data else EventKind.SUGGESTION_STATE
        record.apply(Event(seq=number + 1, time=at, agent="a", kind=kind, data=data))
    return record


def life(name, *states, **last):
    facts = [{"id": name, "state": "proposed", "point": {"x": 0.0}, "by": "loop"}, {"id": name, "state": "approved"}]
    facts += [{"id": name, "state": state} for state in states]
    facts[-1].update(last)
    return facts


def wait_s(record):
    return guardrail_checks.wait_s(RAILS, record.handed_over_at, time.monotonic())


@pytest.mark.parametrize("skew", [-1e6, 0.0, 1e6], ids=["set back", "right", "set forward"])
def test_the_rate_whatever_the_clock_is_set_to(skew):
    facts = [*life("one", "submitted", "running"), *life("two", "submitted", "running")]
    record = fold(*facts, times=[skew] * 4 + [0.0] * 4)
    assert 59 < wait_s(record) <= 60


def test_after_a_restart_all_that_went_before_counts_as_of_then():
    record = fold(*life("one", "submitted"), *life("two", "submitted"), times=[-1e6] * 6)
    told = ServiceRecord(agents={"a": record}).as_json()
    again = ServiceRecord.from_json(told).agents["a"]
    assert 59 < wait_s(again) <= 60


def test_a_snapshot_of_0_1_0_is_read():
    told = ServiceRecord(agents={"a": fold(*life("one", "submitted"))}).as_json()
    told["agents"]["a"]["handed_over_at"] = ["2026-01-01T00:00:00Z"]
    for key in ("longest_run_s", "claimed_by", "approved_by_person", "submitted_at"):
        del told["agents"]["a"][key]
    again = ServiceRecord.from_json(told).agents["a"]
    assert (again.handed_over, len(again.handed_over_at)) == (1, 1)


def test_what_was_taken_back_is_not_counted():
    assert wait_s(fold(*life("one", "submitted", "approved"), *life("two", "submitted"))) == 0


@pytest.mark.parametrize("skew", [-1e6, 1e6])
def test_the_budget_of_time_counts_what_was_measured_by_a_clock_that_nobody_sets(skew):
    facts = life("one", "submitted", "running", "measured", run_time_s=2.5)
    assert fold(*facts, times=[0.0] * 4 + [skew]).run_time_s == 2.5


def test_a_run_whose_end_nobody_saw_counts_as_the_longest_so_far():
    seen = life("one", "submitted", "running", "failed", run_time_s=2.5)
    cut = life("two", "submitted", "running", "abandoned", run_time_s=None)
    assert fold(*seen, *cut).run_time_s == 5.0


def test_facts_of_0_1_0_count_as_they_did_and_never_below_nothing():
    facts = life("one", "submitted", "running", "measured")
    assert fold(*facts, times=[0, 0, 0, 1, 3.5]).run_time_s == 2.5
    assert fold(*facts, times=[0, 0, 0, 1, -9]).run_time_s == 0.0


def test_a_move_of_0_1_0_and_one_of_today():
    old = fold({"command": "move", "point": {"x": 1.0}, "state": "idle"})
    assert old.handed_over == 0
    move = {"command": "move", "plan": "move_to", "point": {"x": 1.0}, "state": "idle"}
    end = {"command": "moved", "point": {"x": 1.0}, "state": "idle"}
    assert fold(move).handed_over == 1, "if the service ends meanwhile, it counts as made"
    made = fold(move, {**end, "begun": True, "run_time_s": 1.5})
    assert (made.handed_over, made.run_time_s) == (1, 1.5)
    refused = fold(move, {**end, "begun": False, "run_time_s": None})
    assert (refused.handed_over, refused.run_time_s, list(refused.handed_over_at)) == (0, 0.0, [])
