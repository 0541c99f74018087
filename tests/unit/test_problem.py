"""What a library of optimizers is asked to solve: spaces as numbers and back, objectives, and what is missing."""

import pytest
from hypothesis import given, strategies as st

from agent_service.brains import types
from agent_service.brains.adapter import adapter_for
from agent_service.brains.adapters import library_type
from agent_service.brains.adapters.baybe import Baybe
from agent_service.brains.adapters.bofire import Bofire
from agent_service.brains.adapters.frames import labels
from agent_service.brains.adapters.gest import Xopt
from agent_service.brains.adapters.library_type import LibraryType, Search
from agent_service.brains.adapters.problem import Problem
from agent_service.brains.extras import how_to_install
from agent_service.errors import InvalidConfig
from agent_service.models import AgentSpec
from agent_service.models.spaces import Choice

SPACE = {
    "x": [-3, 3],
    "turns": {"type": "int", "low": -2, "high": 8},
    "filter": {"type": "choice", "values": ["Al", "Ti", "Cu"]},
    "grade": {"type": "choice", "values": [1, 10, 100], "ordered": True},
    "lamp": {"type": "bool"},
}


def spec_of(space=SPACE, outcome="flux", **fields):
    return AgentSpec(
        **{"name": "a", "type": "t", "actuators": list(space), "outcome": outcome, "space": space, **fields}
    )


PROBLEM = Problem.of(spec_of())
POINTS = st.fixed_dictionaries(
    {
        "x": st.floats(-3, 3),
        "turns": st.integers(-2, 8),
        "filter": st.sampled_from(["Al", "Ti", "Cu"]),
        "grade": st.sampled_from([1, 10, 100]),
        "lamp": st.booleans(),
    }
)


@given(POINTS)
def test_a_point_comes_back_from_its_numbers(point):
    unit = PROBLEM.unit(point)
    assert len(unit) == PROBLEM.width == 7
    assert all(0 <= number <= 1 for number in unit)
    back = PROBLEM.point(unit)
    assert back.pop("x") == pytest.approx(point.pop("x"), abs=1e-12)
    assert back == point
    assert {name: type(value) for name, value in back.items()} == {name: type(value) for name, value in point.items()}


@given(st.lists(st.floats(-2, 3), min_size=7, max_size=7))
def test_any_numbers_are_a_point_of_the_space(numbers):
    assert PROBLEM.position(PROBLEM.point(numbers)) is not None


def test_a_point_outside_the_space_has_no_position():
    point = {"x": 0.0, "turns": 1, "filter": "Al", "grade": 10, "lamp": True}
    assert PROBLEM.position({**point, "flux": 1.0}) == point
    assert PROBLEM.position({**point, "turns": 2.0})["turns"] == 2
    for other in ({"x": 9.0}, {"turns": 1.5}, {"filter": "al"}, {"lamp": 1}):
        assert PROBLEM.position({**point, **other}) is None


def test_costs_are_small_for_what_is_good():
    problem = Problem.of(spec_of(outcome=["flux", "width"]), {"flux": "maximize", "width": "minimize"})
    assert problem.costs({"flux": 2.0, "width": 3.0}) == [-2.0, 3.0]
    with pytest.raises(ValueError, match="a point lacks width; the objectives are flux, width"):
        problem.costs({"flux": 2.0})
    assert Problem.of(spec_of(direction="minimize")).costs({"flux": 2.0}) == [2.0]


def test_bounds_of_guardrails_say_where_to_look_too():
    spec = AgentSpec(name="a", type="t", actuators=["x"], outcome="flux", guardrails={"bounds": {"x": [-1, 2]}})
    assert Problem.of(spec).point([1.0]) == {"x": 2.0}


class Absent(LibraryType, package="no_such_library"): ...


class Present(LibraryType, package="json"):
    def brain(self, spec):
        import no_such_part  # noqa: F401


@pytest.mark.parametrize(
    ("kind", "spec", "config", "message"),
    [
        (Absent, spec_of(), {}, "type 't' needs no_such_library; it must be importable where the service runs"),
        (Present, spec_of(actuators=[*SPACE, "y"]), {}, "space.y is needed, with an end on both sides"),
        (Present, spec_of({"x": {"low": 0}}), {}, "space.x is needed, with an end on both sides"),
        (Present, spec_of({"x": {"low": 0, "high": 1, "optional": True}}), {}, "space.x may be left out of a point"),
        (Present, spec_of(outcome=["flux", "width"]), {}, "has one objective; name one of flux, width"),
        (Present, spec_of(), {"objectives": {"fluks": "maximize"}}, "config.objectives names fluks"),
        (Present, spec_of(outcome=None, evaluate="m:f"), {}, "objectives is needed: which of what evaluate returns"),
    ],
)
def test_what_is_missing_is_said(kind, spec, config, message):
    with pytest.raises(InvalidConfig, match=message):
        kind.check_spec(Search(**config), spec)


@pytest.mark.parametrize(("kind", "listed"), [(Baybe, "27,648"), (Bofire, "9,216")])
def test_what_a_library_would_list_is_limited(kind, listed, monkeypatch):
    monkeypatch.setattr(kind, "is_installed", lambda: True)
    space = {
        "x": [0, 1],
        "turns": {"type": "int", "low": 0, "high": 9215},
        "filt": {"type": "choice", "values": [1, True, "1"]},
    }
    kind.check_spec(Search(), spec_of(space))
    monkeypatch.setattr(library_type, "MOST_LISTED", 1000)
    with pytest.raises(
        InvalidConfig, match=f"space: type 't' would list {listed} values of it, and takes at most 1,000"
    ):
        kind.check_spec(Search(), spec_of(space))


@pytest.mark.parametrize("other", [{"type": "bool"}, {"type": "choice", "values": [1, "Al"]}])
def test_xopt_knows_numbers_only(other, monkeypatch):
    monkeypatch.setattr(Xopt, "is_installed", lambda: True)
    numbers = {
        "x": [0, 1],
        "turns": {"type": "int", "low": 0, "high": 9},
        "grade": {"type": "choice", "values": [1, 2.5]},
    }
    Xopt.check_spec(Search(), spec_of(numbers))
    with pytest.raises(
        InvalidConfig, match=r"space\.filt has values that are no numbers, which type 't' does not know"
    ):
        Xopt.check_spec(Search(), spec_of({**numbers, "filt": other}))


def test_each_value_of_a_choice_has_a_text_of_its_own():
    values = [1, True, "1", "(1)", "True", 0.5, "0.5"]
    known = labels(Choice(type="choice", values=values))
    assert list(map(repr, known.values())) == list(map(repr, values))


def test_one_and_true_are_two():
    problem = Problem.of(spec_of({"x": {"type": "choice", "values": [1, True, "1"]}}))
    assert [problem.unit({"x": value}) for value in (1, True, "1")] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("low", [-(2**63), 0, 2**63 - 9])
def test_the_ends_of_a_large_range_are_in_it(low):
    problem = Problem.of(spec_of({"x": {"type": "int", "low": low, "high": 2**63 - 1}}))
    for unit in (0.0, 0.3, 1.0):
        assert problem.position(problem.point([unit])) is not None


def test_a_part_of_a_library_that_is_missing_is_said():
    with pytest.raises(InvalidConfig, match="type 't' needs no_such_part; it must be importable where the service"):
        adapter_for(Present(), spec=spec_of())


@pytest.mark.parametrize("type_", ["optuna", "xopt", "gpcam", "baybe", "bofire", "skopt", "cma", "pool"])
def test_each_library_has_an_extra_of_its_name(type_):
    package = types.resolve(type_).factory.package
    assert how_to_install(package) == f"where the service runs, pip install 'bluesky-agent-service[{package}]'"
