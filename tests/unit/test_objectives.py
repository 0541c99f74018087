"""What counts as good: objectives and constraints as one may write them, and the best that is found by them."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from agent_service.agents.record.agent import as_written
from agent_service.agents.record.measured import Measured
from agent_service.agents.record.service import ServiceRecord
from agent_service.models import AgentSpec, Event, EventKind
from agent_service.models.best_measured import Front, best_text
from agent_service.models.objectives import Goals
from agent_service.models.own_names import for_brain, named

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("a", "b", "c")


def spec(**fields):
    return AgentSpec(**{"name": "a", "type": "t", "actuators": ["x"], **fields})


def record_of(made, points):
    created = {"state": "created", "reason": None, "spec": made.model_dump(mode="json")}
    service = ServiceRecord()
    service.apply(Event(seq=1, time=T0, agent="a", kind=EventKind.AGENT_STATE, data=created))
    for seq, point in enumerate(points, 2):
        data = {"points": [point], "run_uids": [], "best": []}
        service.apply(Event(seq=seq, time=T0, agent="a", kind=EventKind.INGEST, data=data))
    return service


def status_of(record):
    return record.status(executor="thread", executor_reason=None, busy=None)


# as one writes them -------------------------------------------------------------------------------------------------


def test_the_short_form_is_a_direction_and_the_outcomes_follow_from_the_objectives():
    found = spec(
        objectives={"flux": "maximize", "width": "MINIMIZE"},
        outcome_constraints={"temp": {"max": 80}},
        observables=["ring"],
    )
    assert found.outcomes == ["flux", "width", "temp", "ring"]
    assert [one.direction for one in found.objectives.values()] == ["maximize", "minimize"]
    assert AgentSpec.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objectives": {"fluks": "maximize"}}, "objectives names fluks, which is no outcome of this agent"),
        ({"outcome_constraints": {"temp": {"max": 1}}}, "outcome_constraints names temp, which is no outcome"),
        ({"observables": ["ring"]}, "observables names ring, which is no outcome"),
        ({"objectives": {"flux": {"target": 1, "direction": "maximize"}}}, "either a direction, .* or a target"),
        ({"objectives": {"flux": {"weight": 2}}}, "either a direction, .* or a target"),
        ({"objectives": {"flux": "higher"}}, "maximize"),
        ({"objectives": {"flux": {"direction": "maximize", "weight": 0}}}, "greater than 0"),
        ({"objectives": {"flux": {"direction": "maximize", "weight": True}}}, "must be a number"),
        ({"objectives": {"flux": {"target": float("nan")}}}, "not a finite number"),
        ({"outcome_constraints": {"flux": {}}}, "a min, a max, or both"),
        ({"outcome_constraints": {"flux": {"min": 2, "max": 1}}}, "min = 2 is above max = 1"),
        ({"objectives": {"flux": "maximize"}, "observables": ["flux"]}, "flux is an objective, so it cannot be among"),
    ],
)
def test_what_is_wrong_is_said(fields, message):
    with pytest.raises(ValidationError, match=message):
        spec(outcome="flux", **fields)


def test_a_specification_from_before_is_what_it_was():
    old = spec(outcome="flux", direction="minimize").model_dump(mode="json")
    for field in ("objectives", "outcome_constraints", "observables"):
        del old[field]
    assert AgentSpec.model_validate(old) == spec(outcome="flux", direction="minimize")


def test_objectives_have_the_names_of_devices_and_the_brain_hears_its_own():
    own = {"x": "x", "cam.total": "cam_total"}.__getitem__
    found = named(spec(objectives={"cam.total": "maximize"}, observables=[]), own)
    assert (list(found.objectives), found.outcomes) == (["cam_total"], ["cam_total"])
    assert list(for_brain(found).objectives) == ["cam.total"]


# the best -------------------------------------------------------------------------------------------------------------

OBJECTIVE = st.one_of(
    st.sampled_from(["maximize", "minimize"]).map(lambda way: {"direction": way}),
    st.integers(-3, 3).map(lambda target: {"target": target}),
)
LIMIT = st.tuples(st.integers(-4, 0), st.integers(0, 4)).flatmap(
    lambda ends: st.sampled_from([{"min": ends[0]}, {"max": ends[1]}, {"min": ends[0], "max": ends[1]}])
)
VALUE = st.one_of(st.integers(-5, 5).map(float), st.floats(-1e300, 1e300))  # whole ones for equals


@st.composite
def cases(draw):
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    objectives = {name: draw(OBJECTIVE) for name in names}
    if draw(st.booleans()):
        objectives[names[0]]["weight"] = draw(st.floats(0.1, 10))
    limits = draw(st.dictionaries(st.sampled_from(NAMES), LIMIT, max_size=2))
    made = spec(outcome=list(NAMES), objectives=objectives, outcome_constraints=limits)
    outcomes = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUE)), max_size=25))
    return made, [{"x": float(i), **outcome} for i, outcome in enumerate(outcomes)]


def by_brute_force(made, points):
    """Return the numbers of the points that no other beats, by the definition."""

    def score(name, value):
        one = made.objectives[name]
        return -abs(value - one.target) if one.target is not None else value if one.direction == "maximize" else -value

    def ok(point):
        infinite = float("inf")
        ends = [(point[name], one.min, one.max) for name, one in made.outcome_constraints.items()]
        return all(
            (-infinite if low is None else low) <= value <= (infinite if high is None else high)
            for value, low, high in ends
        )

    weights = {name: one.weight for name, one in made.objectives.items()}
    scored = []
    for i, point in enumerate(points):
        scores = tuple(score(name, point[name]) for name in made.objectives)
        if len(scores) > 1 and any(weights.values()):
            scores = (sum((weight or 1.0) * one for weight, one in zip(weights.values(), scores, strict=True)),)
        if ok(point):
            scored.append((i, scores))

    def beaten(i, mine):
        return any(
            all(a >= b for a, b in zip(other, mine, strict=True)) and (other != mine or j < i) for j, other in scored
        )

    return [i for i, mine in scored if not beaten(i, mine)], dict(scored)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_the_front_is_that_of_the_definition(case):
    made, points = case
    wanted, scores = by_brute_force(made, points)
    service = record_of(made, points)
    record = service.agents["a"]
    best = record.best_measured
    assert sorted(int(one.point["x"]) for one in best.front) == wanted
    if wanted:
        first = max(wanted, key=lambda i: scores[i][0])
        assert scores[int(best.point.point["x"])][0] == scores[first][0]
        assert best.none is None
    else:
        assert best.point is None
        assert (best.none is None) == (not points)
    again = ServiceRecord.from_json(json.loads(json.dumps(service.as_json()))).agents["a"]
    assert again.best_measured == best
    assert again.status(executor="t", executor_reason=None, busy=None) == record.status(
        executor="t", executor_reason=None, busy=None
    )


def test_a_point_that_breaks_a_constraint_is_never_the_best_and_that_is_said():
    made = spec(objectives={"flux": "maximize"}, outcome_constraints={"temp": {"max": 80}})
    hot = [{"x": 0.0, "flux": 9.0, "temp": 90.0}, {"x": 1.0, "flux": 8.0, "temp": 81.0}]
    found = status_of(record_of(made, hot).agents["a"])
    assert (found.best, found.no_best) == (None, "none of 2 measured points meets outcome_constraints")
    assert found.no_best in found.remarks
    found = status_of(record_of(made, [*hot, {"x": 2.0, "flux": 1.0, "temp": 80.0}]).agents["a"])
    assert (found.best.point, found.no_best) == ({"x": 2.0}, None)
    assert best_text(found) == "highest flux 1, temp 80"


@pytest.mark.parametrize(
    ("objectives", "text"),
    [
        ({"flux": "maximize"}, "highest flux 3, width 2"),
        ({"width": "minimize"}, "lowest width 1, flux 1"),
        ({"flux": {"target": 2.2}}, "closest to 2.2: flux 2, width 1.5"),
        ({"flux": {"direction": "maximize", "weight": 3}, "width": "minimize"}, "best by weights: flux 3, width 2"),
        ({"flux": "maximize", "width": "minimize"}, "of 3 points on the front, highest flux 3, width 2"),
    ],
)
def test_the_best_in_words(objectives, text):
    points = [{"x": float(i), "flux": 1.0 + i, "width": 1.0 + i / 2} for i in range(3)]
    found = status_of(record_of(spec(outcome=["flux", "width"], objectives=objectives), points).agents["a"])
    assert best_text(found) == text


def test_what_a_brain_offers_counts_and_the_specification_is_stronger():
    points = [{"x": float(i), "flux": float(i)} for i in range(3)]

    def offered(made):
        service = record_of(made, points)
        goals = {"objectives": {"flux": {"direction": "minimize"}}}
        if made.objectives:
            goals = {}
        apply_goals(service, goals)
        return service

    def apply_goals(service, goals):
        service.apply(Event(seq=9, time=T0, agent="a", kind=EventKind.CONFIG, data={"goals": goals}))
        record = service.agents["a"]
        if record.measured.is_old:  # they are in the journal
            record.measured = Measured(record.spec)
            record.measured.add(points)

    service = offered(spec(outcome="flux"))
    record = service.agents["a"]
    assert record.best_measured.point.point == {"x": 0.0}
    assert as_written(record).objectives == {}
    again = ServiceRecord.from_json(json.loads(json.dumps(service.as_json()))).agents["a"]
    assert (again.best_measured, as_written(again)) == (record.best_measured, as_written(record))
    apply_goals(service, {})
    assert record.spec.objectives == {}
    assert record.best_measured.point.point == {"x": 2.0}
    assert offered(spec(objectives={"flux": "maximize"})).agents["a"].best_measured.point.point == {"x": 2.0}


def test_many_points_on_the_front_stay_on_it():
    front = Front(Goals.of(spec(objectives={"a": "maximize", "b": "minimize"})))
    for i in range(2000):
        front.add({"x": float(i), "a": float(i), "b": float(i)}, actuators=["x"])
    assert len(front.best().front) == 2000
    front.add({"x": -1.0, "a": 9999.0, "b": -1.0}, actuators=["x"])
    assert [one.point["x"] for one in front.best().front] == [-1.0]
