"""Objects of the libraries as somebody made them, and what each library minds: replayed, told once, given back."""

import copy

import pytest
from life import Life, hosted, measured, spec_of

from agent_service.brains import types
from agent_service.brains.adapter import adapter_for, missing_methods
from agent_service.brains.messages import SuggestFact
from agent_service.models import AgentSpec

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
MIXED = {
    "x": [-3, 3],
    "turns": {"type": "int", "low": 0, "high": 8},
    "filter": {"type": "choice", "values": ["Al", "Ti", "Cu"]},
    "lamp": {"type": "bool"},
}


def study(**options):
    import optuna

    return optuna.create_study(direction="maximize", **options)


def skopt_optimizer():
    from skopt import Optimizer

    return Optimizer([(-3.0, 3.0), (-3.0, 3.0)], n_initial_points=4, random_state=1)


def cma_strategy():
    from cma import CMAEvolutionStrategy

    return CMAEvolutionStrategy([0.0, 0.0], 1.0, {"bounds": [-3, 3], "popsize": 4, "verbose": -9, "seed": 2})


def campaign():
    from baybe import Campaign
    from baybe.parameters import NumericalContinuousParameter
    from baybe.searchspace import SearchSpace
    from baybe.targets import NumericalTarget

    space = SearchSpace.from_product([NumericalContinuousParameter(name, (-3, 3)) for name in ("x", "y")])
    return Campaign(space, NumericalTarget("flux").to_objective())


def generator():
    from gest_api.vocs import VOCS
    from xopt.generators.ga import NSGA2Generator

    variables = {"x": [-3, 3], "y": [-3, 3]}
    return NSGA2Generator(vocs=VOCS(variables=variables, objectives={"flux": "MAXIMIZE"}), population_size=4)


def regressor():
    from sklearn.neighbors import KNeighborsRegressor

    return KNeighborsRegressor(2)


OBJECTS = [study, skopt_optimizer, cma_strategy, campaign, generator, regressor]


@pytest.mark.parametrize("make", OBJECTS)
def test_an_object_of_a_library_lives_here_as_it_is(make):
    thing = make()
    assert missing_methods(thing) == []
    life = Life(adapter_for(thing, spec=spec_of())).eventful()
    again = adapter_for(make(), spec=spec_of())
    again.replay(life.facts)
    assert life.adapter.report().report == again.report().report
    assert again.report().report["n_measured"] == 6


@pytest.mark.parametrize("type_", ["optuna", "skopt", "pool"])
def test_a_mixed_space_stays_what_it_is(type_):
    life = Life(hosted(spec_of(MIXED, type=type_))).eventful()
    points = [fact.points[0] for fact in life.facts if isinstance(fact, SuggestFact)]
    kinds = {name: {type(point[name]) for point in points} for name in MIXED}
    assert kinds == {"x": {float}, "turns": {int}, "filter": {str}, "lamp": {bool}}
    again = hosted(spec_of(MIXED, type=type_))
    again.replay(life.facts)
    assert life.adapter.report().report == again.report().report


@pytest.mark.parametrize("type_", ["baybe", "bofire"])
def test_tables_hold_large_whole_numbers_and_single_values(type_):
    space = {
        "x": [-3, 3],
        "turns": {"type": "int", "low": 2**53 + 1, "high": 2**53 + 8},
        "filter": {"type": "choice", "values": [1, True, "1"]},
        "lamp": {"type": "choice", "values": ["on"]},
        "grade": {"type": "int", "low": 7, "high": 7},
    }
    life = Life(hosted(spec_of(space, type=type_)))
    for turns, kind in ((2**53 + 1, True), (2**53 + 2, 1), (2**53 + 8, "1")):
        place = {"x": 0.5, "turns": turns, "filter": kind, "lamp": "on", "grade": 7}
        life.ingest(measured(place))
    point = life.measure(4).point
    assert (point["lamp"], point["grade"]) == ("on", 7)
    assert point["turns"] in range(2**53 + 1, 2**53 + 9)
    assert life.adapter.report().report["n_measured"] == 7
    table = life.adapter._calls._brain._frames
    assert table.points(table.of([place])) == [place]


def test_xopt_has_whole_numbers_and_choices_of_numbers():
    space = {"x": [-3, 3], "turns": MIXED["turns"], "grade": {"type": "choice", "values": [0.5, 1, 10]}}
    life = Life(hosted(spec_of(space, type="xopt", config={"n_initial": 3})))
    for _ in range(5):
        point = life.measure().point
        assert (type(point["turns"]), point["grade"] in (0.5, 1, 10)) == (int, True)


def test_ax_has_ints_texts_and_truths_back():
    parameters = [
        {"name": "x", "bounds": [-3, 3], "parameter_type": "float"},
        {"name": "turns", "bounds": [0, 8], "parameter_type": "int"},
        {"name": "filter", "values": ["Al", "Ti", "Cu"], "parameter_type": "str", "is_ordered": False},
        {"name": "lamp", "values": [False, True], "parameter_type": "bool"},
    ]
    config = {"parameters": parameters, "objective": "flux, -width", "outcome_constraints": ["width <= 12"]}
    fields = {"name": "a", "actuators": list(MIXED), "outcome": ["flux", "width"], "config": config}
    spec = AgentSpec(type="bluesky_adaptive.ax.optimizer:AxOptimizer", **fields)
    life = Life(hosted(spec)).eventful(1)  # as many as Ax draws without a model, whose first fit compiles for long
    assert life.adapter.traits().space["filter"].values == ["Al", "Ti", "Cu"]
    again = hosted(spec)
    again.replay(life.facts)
    assert life.adapter.report().report == again.report().report
    assert again.report().report["n_measured"] == 3
    assert again.view().fault is None


def test_a_study_in_a_database_is_told_once(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    spec = spec_of(type="optuna", config={"storage": storage, "study": "s"})
    life = Life(hosted(spec)).eventful()
    before = life.adapter.report().report
    for _ in range(2):
        again = hosted(spec)
        again.replay(life.facts)
        assert again.report().report == before
    other = hosted(spec.model_copy(update={"name": "b"}))
    other.ingest([measured({"x": -1.5, "y": 0.0})])
    assert other.report().report["n_measured"] == before["n_measured"] + 1


def test_columns_of_a_generator_are_given_back():
    thing = generator()
    life = Life(adapter_for(thing, spec=spec_of()))
    life.measure(5)
    numbers = list(thing.data["xopt_candidate_idx"])
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    assert thing.n_generations == 1


def test_a_step_is_waited_for_and_a_foreign_point_is_not_told():
    life = Life(hosted(spec_of(type="xopt", config={"generator": "neldermead"})))
    life.measure(3)
    one = life.suggest()
    assert life.suggest() == "it goes step by step, and needs the outcome of the point before"
    assert life.adapter.traits().most_pending == 1
    life.ingest(measured({"x": 2.0, "y": 2.0}))
    life.ingest(measured(one.point, one.id))
    again = hosted(spec_of(type="xopt", config={"generator": "neldermead"}))
    again.replay(life.facts)
    assert Life(again).suggest().point == pytest.approx(life.suggest().point)


@pytest.mark.parametrize("end", ["edit", "fail"])
def test_a_step_that_nobody_measures_is_as_bad_as_the_worst_and_not_asked_for_again(end):
    spec = spec_of(type="xopt", config={"generator": "neldermead"})
    life = Life(hosted(spec))
    first = life.suggest()
    life.fail(first)
    assert life.suggest().point == first.point, "nothing is known yet to be as bad as"
    life.ingest(measured(first.point, f"s{life.n}"))
    life.measure(4)
    step = life.suggest()
    elsewhere = {"x": -2.5, "y": 2.5}
    if end == "edit":
        life.edit(step.id, elsewhere)
        assert isinstance(life.suggest(), str), "it waits for the outcome of what the person chose"
        life.ingest(measured(elsewhere, step.id))
    else:
        life.fail(step)
    assert life.measure().point != pytest.approx(step.point)
    generator = life.adapter._calls._brain._generator
    assert elsewhere["x"] not in list(generator.data["x"])
    assert generator.data["flux"].iloc[5] == generator.data["flux"].iloc[:5].min()
    again = hosted(spec)
    again.replay(life.facts)
    assert Life(again).suggest().point == pytest.approx(life.suggest().point)


def test_a_listed_pool_comes_to_its_end():
    pool = [{"x": float(x), "y": 0.0} for x in range(3)]
    life = Life(hosted(spec_of(type="pool", config={"pool": pool, "n_initial": 1})))
    places = [life.measure().point["x"] for _ in pool]
    assert sorted(places) == [0.0, 1.0, 2.0]
    assert life.adapter.suggest(["z"])[0] == []
    assert life.adapter.view().waits is None


def test_a_generation_of_cma_replaces_what_failed():
    life = Life(hosted(spec_of(type="cma", config={"popsize": 4})))
    open_ = [life.suggest() for _ in range(4)]
    assert life.suggest() == "CMA-ES needs the outcomes of 4 points of this generation"
    life.adapter.fail([{**open_[0].point, "_id": open_[0].id}])
    another = life.suggest()
    for one in (*open_[1:], another):
        life.ingest(measured(one.point, one.id))
    assert life.suggest().point not in [one.point for one in open_]


@pytest.mark.parametrize("type_", ["optuna", "xopt", "gpcam", "baybe", "bofire", "skopt", "cma", "pool"])
def test_the_specification_has_to_say_where_to_look(type_):
    with pytest.raises(Exception, match=r"space\.y is needed"):
        hosted(spec_of({"x": [-3, 3]}, type=type_).model_copy(update={"actuators": ["x", "y"]}))
    found = types.resolve(type_)
    assert found.schema()["properties"]
    assert found.summary.endswith(".")


def test_a_configuration_is_not_changed_by_its_library():
    config = {
        "vocs": {
            "variables": {"x": {"type": "ContinuousVariable", "domain": [-3, 3]}},
            "objectives": {"flux": "MAXIMIZE"},
        }
    }
    spec = AgentSpec(
        name="a", type="xopt.generators.random:RandomGenerator", actuators=["x"], outcome="flux", config=config
    )
    before = copy.deepcopy(spec.config)
    for _ in range(2):
        assert -3 <= Life(hosted(spec)).suggest().point["x"] <= 3
    assert spec.config == before
