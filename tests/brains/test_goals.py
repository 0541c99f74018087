"""The objectives of a specification reach each family: targets, weights, fronts, constraints and standard errors."""

import pytest
from families import blop

from agent_service.brains.factory import BrainFactory
from agent_service.errors import InvalidConfig
from agent_service.models import AgentSpec
from agent_service.models.objectives import Goals

SPACE = {"x": [-3, 3], "y": [-3, 3]}
DOFS = [{"name": name, "bounds": [-3, 3], "parameter_type": "float"} for name in SPACE]
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

CONFIGS = {
    "bluesky_adaptive.ax.optimizer:AxOptimizer": {"parameters": DOFS},
    "blop.ax:Agent": {key: value for key, value in blop().items() if key == "dofs"},
    "xopt": {"n_initial": 4},
    "optuna": {"options": {"n_startup_trials": 3}},
    "gpcam": {"n_initial": 4, "max_iter": 3},
    "baybe": {},
    "bofire": {"n_initial": 4},
    "skopt": {"n_initial": 4},
    "cma": {"popsize": 4},
    "pool": {"n_initial": 4},
    "bayes": {"bounds": SPACE, "n_initial": 4},
}
SEVERAL = ("bluesky_adaptive.ax.optimizer:AxOptimizer", "blop.ax:Agent", "optuna", "baybe", "bofire")
GOALS = {
    "target": {"objectives": {"flux": {"target": 2.0}}},
    "weights": {"objectives": {"flux": {"direction": "maximize", "weight": 3}, "width": "minimize"}},
    "limits": {"objectives": {"flux": "maximize"}, "outcome_constraints": {"width": {"min": 0.5, "max": 4}}},
    "front": {"objectives": {"flux": "maximize", "width": "minimize"}, "outcome_constraints": {"dose": {"max": 1}}},
}
OUTCOMES = ["flux", "width", "dose"]


def adapter_of(kind, goals):
    spec = AgentSpec(
        name="a", type=kind, config=CONFIGS[kind], actuators=list(SPACE), space=SPACE, outcome=OUTCOMES, **GOALS[goals]
    )
    factory = BrainFactory.of(spec)
    factory.check()
    return spec, factory()


def measured(point):
    x, y = point["x"], point["y"]
    return {"flux": 5 - x * x - y * y, "width": abs(x) + 0.1, "dose": 0.5 + 0.1 * y}


def tell(adapter, point, **more):
    adapter.ingest([{**point, **measured(point), "_sem": {"flux": 0.25}, **more}])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("goals", GOALS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_it_goes_by_the_objectives(kind, goals):
    if goals == "front" and kind not in SEVERAL:
        if kind != "xopt":  # some of whose generators take several
            with pytest.raises(InvalidConfig, match="one objective"):
                adapter_of(kind, goals)
        return
    spec, adapter = adapter_of(kind, goals)
    offered = adapter.traits().goals
    assert offered == {}, "the specification has said it"
    tell(adapter, {"x": 2.9, "y": -2.9})  # of nobody, and beyond the limits
    for i in range(6):
        [proposal], _ = adapter.suggest([f"s{i}"])
        tell(adapter, proposal.point, _id=f"s{i}")
    brain = adapter._calls._brain
    data = brain._client.summarize(trial_statuses=None) if hasattr(brain, "_client") else None
    if data is not None:
        assert set(Goals.of(spec).columns) <= set(data.columns)
        experiment = brain._client._experiment.lookup_data().df
        errors = experiment[experiment["metric_name"] == "flux"]["sem"]
        assert set(errors) == {0.25}
    assert adapter.report().fault is None


def test_what_ax_is_made_for_is_offered_to_the_service():
    config = {"parameters": DOFS, "objective": "flux, -width", "outcome_constraints": ["dose <= 3", "flux >= -9"]}
    spec = AgentSpec(
        name="a",
        type="bluesky_adaptive.ax.optimizer:AxOptimizer",
        config=config,
        actuators=["x", "y"],
        outcome=OUTCOMES,
    )
    assert BrainFactory.of(spec)().traits().goals == {
        "objectives": {"flux": {"direction": "maximize"}, "width": {"direction": "minimize"}},
        "outcome_constraints": {"dose": {"max": 3.0}},
    }


def test_a_point_that_breaks_a_constraint_is_known_to_optuna_and_to_xopt():
    _, adapter = adapter_of("optuna", "limits")
    for i, x in enumerate((0.0, 1.0, 3.0, 2.0)):
        [proposal], _ = adapter.suggest([f"s{i}"])
        tell(adapter, {**proposal.point, "x": x}, _id=f"s{i}") if i % 2 else tell(adapter, {"x": x, "y": 0.0})
    study = adapter._calls._brain._study
    assert {trial.constraints.get("width", 0) <= 0 for trial in study.trials if trial.values} == {True, False}
    _, adapter = adapter_of("xopt", "limits")
    for x in (0.0, 1.0, 3.0):
        tell(adapter, {"x": x, "y": 0.0})
    generator = adapter._calls._brain._generator
    assert list(generator.vocs.constraints) == ["width_excess"]
    assert list(generator.data["width_excess"] <= 0) == [False, True, True]
