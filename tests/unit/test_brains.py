"""What each brain promises beyond the protocol."""

import math

import pytest
from pydantic import ValidationError

from agent_service.brains.builtin.bayes import Bayes
from agent_service.brains.builtin.sequence import Sequence
from agent_service.brains.builtin.sobol import Sobol

BOX = {"x": [-5, 5], "y": [0, 10]}


def flux(point):
    return 10 - (point["x"] - 1) ** 2 - (point["y"] - 4) ** 2


def measure(brain, n=1, **more):
    points = brain.suggest(n)
    brain.ingest([{**one, "flux": flux(one), **more} for one in points])
    return points


def place(point):
    return (point["x"], point["y"])


def width(a, b):
    return math.dist(place(a), place(b)) / 10


# --- sequence


def test_sequence_goes_through_its_list_and_stops_when_all_is_measured() -> None:
    brain = Sequence(points=[{"x": 1}, {"x": 2}], repeat=2)
    points = brain.suggest(3)
    assert [one["x"] for one in points] == [1, 2, 1]
    assert brain.should_stop() == (False, None)
    brain.ingest([{**one, "flux": 1.0} for one in points])
    [last] = brain.suggest(5)
    assert brain.suggest(1) == []
    assert brain.should_stop() == (False, None)
    brain.register_failures([last])
    assert brain.should_stop() == (True, "all 4 points are done")


def test_sequence_does_not_repeat_what_was_registered() -> None:
    brain = Sequence(points=[{"x": 1}, {"x": 2}, {"x": 1}])
    assert [one["_id"] for one in brain.register_suggestions([{"x": 1}, {"x": 7}])] == [0, 1]
    assert [one["x"] for one in brain.suggest(5)] == [2, 1]


def test_sequence_is_at_its_end_when_all_was_registered() -> None:
    brain = Sequence(points=[{"x": 1}, {"x": 2}])
    points = brain.register_suggestions([{"x": 1}, {"x": 2}])
    brain.ingest([{**points[0], "flux": 1.0}])
    assert brain.should_stop() == (False, None)
    brain.ingest([{**points[1], "flux": 1.0}])
    assert brain.should_stop() == (True, "all 2 points are done")


@pytest.mark.parametrize("config", [{}, {"points": []}, {"points": [{}]}, {"points": [{"x": 1}], "repeat": 0}])
def test_sequence_refuses_a_wrong_configuration(config) -> None:
    with pytest.raises(ValidationError):
        Sequence(**config)


# --- sobol


def test_sobol_fills_the_box_evenly() -> None:
    points = Sobol(bounds=BOX).suggest(64)
    cells = {(int((one["x"] + 5) / 1.25), int(one["y"] / 1.25)) for one in points}
    assert len(cells) == 64


def test_sobol_stops_after_its_points() -> None:
    brain = Sobol(bounds=BOX, n_points=3)
    assert len(measure(brain, 2)) == 2
    assert brain.should_stop() == (False, None)
    assert len(measure(brain, 2)) == 1
    assert measure(brain) == []
    assert brain.should_stop() == (True, "all 3 points are done")


def test_sobol_seeds_differ() -> None:
    assert Sobol(bounds=BOX, seed=1).suggest(4) != Sobol(bounds=BOX, seed=2).suggest(4)


def test_the_best_point_is_unknown_when_nothing_says_which_outcome_counts() -> None:
    brain = Sobol(bounds=BOX)
    measure(brain, 2, width=1.0)
    assert brain.get_best_points() == []
    named = Sobol(bounds=BOX, objective="width", maximize=False)
    named.ingest([{"x": 1, "y": 1, "flux": 1, "width": 3}, {"x": 2, "y": 2, "flux": 0, "width": 2}])
    assert named.get_best_points() == [(None, {"x": 2.0, "y": 2.0}, {"flux": 0.0, "width": 2.0})]


# --- bayes


@pytest.mark.parametrize("maximize", [True, False])
def test_bayes_finds_the_best_point_either_way_round(maximize) -> None:
    brain = Bayes(bounds=BOX, maximize=maximize, objective="signal", n_initial=5)
    for _ in range(14):
        [point] = brain.suggest(1)
        brain.ingest([{**point, "signal": flux(point) * (1 if maximize else -1), "other": 3.0}])
    [(_, point, outcome)] = brain.get_best_points()
    assert flux(point) > 9.8
    assert outcome == {"signal": pytest.approx(flux(point) * (1 if maximize else -1)), "other": 3.0}
    assert brain.report()["best"]["mean"] == pytest.approx(outcome["signal"], abs=0.5)


def test_bayes_suggests_different_points_while_many_are_pending() -> None:
    brain = Bayes(bounds=BOX, n_initial=4)
    measure(brain, 12)
    points = brain.suggest(6)
    apart = [width(a, b) for i, a in enumerate(points) for b in points[:i]]
    assert min(apart) > 0.03  # a crowd in one place, half as far apart, is what comes of forgetting those pending


def test_bayes_keeps_away_from_where_it_failed() -> None:
    def life(*, failing):
        brain = Bayes(bounds=BOX, n_initial=4, failure_radius=0.1)
        measure(brain, 8)
        [first] = brain.suggest(1)
        if failing:
            brain.register_failures([first])
        else:
            brain.ingest([{**first, "flux": flux(first)}])
        return first, [brain.suggest(1)[0] for _ in range(4)]

    first, after = life(failing=True)
    assert all(width(first, one) > 0.1 for one in after)
    first, after = life(failing=False)
    assert any(width(first, one) <= 0.1 for one in after)


def test_bayes_names_the_point_its_model_trusts_and_not_the_luckiest_reading() -> None:
    brain = Bayes(bounds=BOX, n_initial=4)
    good = {"x": 1.0, "y": 4.0}
    brain.ingest([{**good, "flux": 10.0 + error} for error in (-0.4, 0.1, 0.5, -0.2)])
    lucky = {"x": 4.0, "y": 4.0}
    brain.ingest([{**lucky, "flux": value} for value in (11.5, 1.0, 1.2, 0.9)])
    measure(brain, 8)
    [(_, point, outcome)] = brain.get_best_points()
    assert width(point, lucky) > 0.1
    assert outcome["flux"] < 11.5


def test_bayes_leaves_out_what_it_cannot_use_and_says_so() -> None:
    brain = Bayes(bounds=BOX, n_initial=4)
    brain.ingest([{"x": 50.0, "y": 1.0, "flux": 99.0}, {"x": 0.0, "y": 0.0, "flux": math.nan}])
    measure(brain, 4)
    report = brain.report()
    assert (report["n_measured"], report["n_left_out"]) == (4, 2)
    assert "2 measurements" in report["note"]
    assert brain.get_best_points()[0][1]["x"] != 50.0


def test_bayes_takes_an_outcome_without_the_position_it_suggested() -> None:
    brain = Bayes(bounds=BOX)
    [point] = brain.suggest(1)
    brain.ingest([{"_id": point["_id"], "flux": 1.0}])
    assert brain.get_best_points() == [(0, {"x": point["x"], "y": point["y"]}, {"flux": 1.0})]


def test_bayes_says_when_the_objective_is_not_there() -> None:
    with pytest.raises(ValueError, match="lacks the objective 'flux'; its outcomes are: width"):
        Bayes(bounds=BOX, objective="flux").ingest([{"x": 1, "y": 1, "width": 1}])
    with pytest.raises(ValueError, match="which outcome is the objective"):
        Bayes(bounds=BOX).ingest([{"x": 1, "y": 1, "width": 1, "flux": 1}])


def test_bayes_survives_constant_data_and_one_dimension() -> None:
    brain = Bayes(bounds={"x": [0, 1]}, n_initial=2)
    for _ in range(6):
        [point] = brain.suggest(1)
        brain.ingest([{**point, "flux": 1.0}])
    assert 0 <= brain.suggest(1)[0]["x"] <= 1
    assert set(brain.report()["length_scales"]) == {"x"}


def test_bayes_explores_more_with_a_larger_xi() -> None:
    def next_point(xi):
        brain = Bayes(bounds=BOX, n_initial=4)
        measure_into(brain, Sobol(bounds=BOX, seed=5), 20)
        brain.xi = xi
        return brain.suggest(1)[0]

    best = {"x": 1.0, "y": 4.0}
    assert width(next_point(5.0), best) > width(next_point(0.0), best) + 0.05


def test_bayes_with_many_points_fits_anew_only_now_and_then() -> None:
    brain = Bayes(bounds=BOX, n_initial=4)
    many = Sobol(bounds=BOX, seed=5)
    measure_into(brain, many, 128)
    brain.get_best_points()
    fitted = brain._model
    measure_into(brain, many, 4)
    brain.get_best_points()
    assert brain._model is not fitted
    assert brain._model.n_fitted == 128
    measure_into(brain, many, 10)
    brain.get_best_points()
    assert brain._model.n_fitted == 142


def measure_into(brain, source, n):
    brain.ingest([{"x": one["x"], "y": one["y"], "flux": flux(one)} for one in source.suggest(n)])
