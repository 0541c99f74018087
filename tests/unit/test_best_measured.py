"""The best measured is one number with one meaning, told apart from what a brain calls the best."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from agent_service.agents.record.agent import AgentRecord
from agent_service.models import AgentSpec, BestPoint, Event, EventKind
from agent_service.models.best_measured import Extremes, best_text

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def spec(**changes):
    return AgentSpec(**{"name": "a", "type": "t", "actuators": ["x"], "outcome": "flux", **changes})


def ingest(*points, run_uids=(), best=(), **more):
    data = {"points": list(points), "run_uids": list(run_uids), "best": list(best), **more}
    return Event(seq=1, time=T0, agent="a", kind=EventKind.INGEST, data=data)


def point(x, flux, **more):
    return {"x": x, "flux": flux, **more}


def record(*events, **changes):
    found = AgentRecord(spec=spec(**changes), created_at=T0)
    for event in events:
        found.apply(event)
    return found


def status(found):
    return found.status(executor="thread", executor_reason=None, busy=None)


VALUES = [3.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("changes", "model", "expected"),
    [
        ({"direction": "minimize"}, 3.0, 1.0),
        ({"direction": "maximize", "config": {"maximize": False}}, None, 3.0),
        ({"config": {"maximize": False}}, 3.0, 1.0),
        ({"config": {"minimize": True}}, 3.0, 1.0),
        ({"config": {"maximize": True}}, 1.0, 3.0),
        ({"config": {"maximize": "yes"}}, None, 3.0),  # of somebody else's meaning
        ({}, 1.2, 1.0),  # the brain calls the least the best
        ({}, 2.9, 3.0),
        ({}, None, 3.0),
    ],
)
def test_which_way_is_better(changes, model, expected):
    best = [] if model is None else [{"id": None, "point": {"x": 9.0}, "outcome": {"flux": model}}]
    found = status(record(*(ingest(point(i, value), best=best) for i, value in enumerate(VALUES)), **changes))
    assert found.best.outcome == {"flux": expected}
    assert found.best.point == {"x": VALUES.index(expected)}
    assert found.direction == ("maximize" if expected == max(VALUES) else "minimize")
    assert found.objective == "flux"
    assert (found.best_by_model.outcome if model is not None else found.best_by_model) == (
        None if model is None else {"flux": model}
    )


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.booleans())
def test_it_is_the_extreme_of_what_was_measured_and_the_first_of_equals(values, maximize):
    found = record(*(ingest(point(i, value)) for i, value in enumerate(values)), config={"maximize": maximize})
    extreme = max(values) if maximize else min(values)
    assert status(found).best.outcome["flux"] == extreme
    assert status(found).best.point["x"] == values.index(extreme)


def test_the_objective_that_is_configured_counts_else_the_first_outcome_else_what_is_found():
    measured = ingest({"x": 0.0, "a": 1.0, "b": 5.0}), ingest({"x": 1.0, "a": 2.0, "b": 4.0})
    assert status(record(*measured, outcome=["a", "b"])).best.point == {"x": 1.0}
    assert status(record(*measured, outcome=["a", "b"], config={"objective": "b"})).best.point == {"x": 0.0}
    evaluated = status(record(*measured, outcome=None, evaluate="m:f"))
    assert (evaluated.objective, evaluated.best.point) == ("a", {"x": 1.0})
    nothing = status(record(outcome=None, evaluate="m:f"))
    assert (nothing.best, nothing.objective, best_text(nothing)) == (None, None, "")


def test_what_is_no_finite_number_is_not_the_best():
    extremes = Extremes()
    for value in (math.nan, math.inf, "7", None, True, 1.0):
        extremes.add({"x": 0.0, "flux": value}, actuators=["x"])
    assert extremes.best(spec(), None).point == BestPoint(id=None, point={"x": 0.0}, outcome={"flux": 1.0})


def test_it_is_told_in_words():
    assert best_text(status(record(ingest(point(0, 12.3456)), direction="minimize"))) == "lowest flux 12.35"
    two = record(ingest({"x": 0, "a": 1.0, "b": 2.0}), outcome=["a", "b"], config={"objective": "b"})
    assert best_text(status(two)) == "highest b 2, a 1"


def test_outcomes_are_counted_by_how_they_came():
    found = record(
        ingest(point(0, 1.0, _id="s1"), run_uids=["r1"]),
        ingest(point(1, 2.0), point(2, 3.0)),
        ingest(point(3, 2.0), run_uids=["r2"]),
        ingest(
            *(point(i, 0.0) for i in range(3)),
            run_uids=["r3", "r4"],
            retold=[
                {"run_uid": "r3", "counts": True},
                {"run_uid": "r4", "counts": False},
                {"run_uid": None, "counts": False},
            ],
        ),
    )
    counts = status(found).counts
    assert (counts.by_hand, counts.from_runs, counts.retold) == (2, 1, 3)
    assert found.ingested_runs.keys() == {"r1", "r2", "r3", "r4"}
    assert (found.done, found.handed_over) == (1, 1), "a run for a suggestion counts, told again or not"
