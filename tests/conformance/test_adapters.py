"""One suite for adapters, over a table of shapes of brains: every type we ship, and small ones of somebody else's."""

import itertools
import json
import random

import jsonschema
import pytest

from agent_service.brains import types
from agent_service.brains.adapter import adapter_for
from agent_service.brains.messages import EditFact, FailFact, IngestFact, SuggestFact
from agent_service.errors import InvalidConfig
from agent_service.models import AgentSpec

BOUNDS = {"x": [-5, 5], "y": [0, 10]}
POINTS = [{"x": i / 2 - 5, "y": 10 - i / 2} for i in range(20)]
CONFIGS = {
    "bayes": {"bounds": BOUNDS, "n_initial": 4, "seed": 3},
    "sobol": {"bounds": BOUNDS, "seed": 3},
    "sequence": {"points": POINTS},
    f"{__name__}:Minimal": {"step": 0.5},
    f"{__name__}:Trials": {},
    f"{__name__}:Awaited": {},
    f"{__name__}:Renamed": {},
}
NAMES = {f"{__name__}:Renamed": {"x": "theta", "y": "phi"}}
"""What a brain calls the actuators, where it has names of its own for them."""

SHIPPED = ["bayes", "sequence", "sobol"]


class Minimal:
    """Nothing but what every brain must have: no ids, no options."""

    def __init__(self, step: float = 1.0):
        self.step, self.n, self.points = step, 0, []

    def suggest(self, num_points=None):
        first, self.n = self.n, self.n + (num_points or 1)
        return [{"x": self.step * i, "y": 1.0} for i in range(first, self.n)]

    def ingest(self, points):
        assert all("_id" not in one for one in points), "it never gave an id"
        self.points.extend(points)

    def get_best_points(self):
        best = max(self.points, key=lambda one: one["flux"])  # raises without data, as Ax does
        return [(None, {"x": best["x"], "y": best["y"]}, {"flux": (best["flux"], 0.1)})]


class Trials:
    """Keeps a book of trials like Ax: an id that it does not know, or a second outcome for one, raises."""

    def __init__(self):
        self.trials, self.outcomes = {}, {}
        self._n, self._random = itertools.count(100), random.Random(0)

    def register_suggestions(self, suggestions):
        return [self._attach({"x": one["x"], "y": one["y"]}) for one in suggestions]

    def _attach(self, point):
        trial = next(self._n)
        self.trials[trial] = point
        return {**point, "_id": trial}

    def suggest(self, num_points=None):
        return [self._attach({"x": self._random.random(), "y": 2.0}) for _ in range(num_points or 1)]

    def register_failures(self, suggestions):
        for one in suggestions:
            del self.trials[one["_id"]]

    def ingest(self, points):
        for one in points:
            trial = one["_id"] if "_id" in one else self._attach(one)["_id"]
            assert trial not in self.outcomes
            self.outcomes[trial] = (self.trials[trial], one["flux"])

    def get_best_points(self):
        trial = max(self.outcomes, key=lambda one: self.outcomes[one][1])
        point, flux = self.outcomes[trial]
        return [(trial, {"x": point["x"], "y": point["y"]}, {"flux": flux})]


class Awaited(Trials):
    """The same with coroutines."""

    async def register_suggestions(self, suggestions):
        return super().register_suggestions(suggestions)

    async def suggest(self, num_points=None):
        return super().suggest(num_points)

    async def register_failures(self, suggestions):
        super().register_failures(suggestions)

    async def ingest(self, points):
        super().ingest(points)

    async def get_best_points(self):
        return super().get_best_points()


class Renamed(Minimal):
    """Calls the actuators theta and phi."""

    def suggest(self, num_points=None):
        return [{"theta": point["x"], "phi": point["y"]} for point in super().suggest(num_points)]

    def get_best_points(self):
        best = max(self.points, key=lambda point: point["flux"])
        return [(None, {"theta": best["theta"], "phi": best["phi"]}, {"flux": best["flux"]})]


def spec_of(kind, **changes):
    fields = {"config": CONFIGS[kind], "actuators": ["x", "y"], "outcome": "flux", "names": NAMES.get(kind, {})}
    return AgentSpec(**{"name": "a", "type": kind, **fields, **changes})


def adapter_of(kind, **changes):
    spec = spec_of(kind, **changes)
    found = types.resolve(kind)
    found.validate(spec)
    return adapter_for(found.build(spec), spec=spec)


def flux(point):
    return 10 - (point["x"] - 1) ** 2 - (point["y"] - 4) ** 2


def measured(proposals):
    return [{**one.point, "flux": flux(one.point), "_id": one.id} for one in proposals]


@pytest.fixture(params=CONFIGS)
def kind(request):
    return request.param


@pytest.fixture
def adapter(kind):
    return adapter_of(kind)


def test_a_suggestion_is_a_point_of_all_actuators(adapter) -> None:
    proposals, view = adapter.suggest(["s1"])
    assert [one.id for one in proposals] == ["s1"]
    assert set(proposals[0].point) == {"x", "y"}
    assert all(type(value) is float for value in proposals[0].point.values())
    assert view.best == ()


def test_a_batch_has_different_points_and_ids_fit_for_json(adapter, kind) -> None:
    ids = ["s1", "s2", "s3", "s4"]
    proposals, _ = adapter.suggest(ids)
    assert [one.id for one in proposals] == ids
    assert len({tuple(one.point.values()) for one in proposals}) == 4
    brain_ids = json.loads(json.dumps([one.brain_id for one in proposals]))
    assert len(set(brain_ids)) == (1 if kind.endswith(("Minimal", "Renamed")) else 4)


def test_pending_suggestions_are_not_suggested_again(adapter) -> None:
    points = [adapter.suggest([f"s{i}"])[0][0].point for i in range(12)]
    assert len({tuple(point.values()) for point in points}) == 12


def test_outcomes_come_in_by_the_services_id(adapter) -> None:
    proposals, _ = adapter.suggest(["s1", "s2", "s3"])
    view = adapter.ingest(measured(proposals))
    best = max(proposals, key=lambda one: flux(one.point))
    assert [(one.id, one.point) for one in view.best] == [(best.id, best.point)]
    assert view.best[0].outcome == {"flux": flux(best.point)}


def test_points_of_others_come_in_without_an_id(adapter) -> None:
    [mine], _ = adapter.suggest(["s1"])
    view = adapter.ingest([{"x": 1.0, "y": 4.0, "flux": 10.0}, *measured([mine])])
    assert [(one.id, one.point, one.outcome) for one in view.best] == [(None, {"x": 1.0, "y": 4.0}, {"flux": 10.0})]


def test_the_same_point_may_be_measured_twice(adapter) -> None:
    points = [{"x": 1.0, "y": 4.0, "flux": 9.0}, {"x": 1.0, "y": 4.0, "flux": 9.2}, {"x": 0.0, "y": 0.0, "flux": 1.0}]
    view = adapter.ingest(points * 2)
    assert view.best[0].point == {"x": 1.0, "y": 4.0}
    assert adapter.suggest(["s1"])[0]


def test_a_failed_suggestion_does_not_come_back(adapter) -> None:
    proposals, _ = adapter.suggest(["s1", "s2"])
    adapter.fail([{**proposals[0].point, "_id": "s1"}])
    adapter.ingest(measured(proposals[1:]))
    after = [adapter.suggest([f"t{i}"])[0][0].point for i in range(8)]
    assert proposals[0].point not in after


def test_an_outcome_may_come_after_the_failure(adapter) -> None:
    proposals, _ = adapter.suggest(["s1", "s2"])
    adapter.fail([{**one.point, "_id": one.id} for one in proposals])
    view = adapter.ingest(measured(proposals))
    assert view.best[0].id in {"s1", "s2"}


def test_an_edited_point_is_ingested_where_it_was_measured(adapter) -> None:
    proposals, _ = adapter.suggest(["s1", "s2"])
    adapter.edit("s1", {"x": 1.0, "y": 4.0})
    view = adapter.ingest([{"x": 1.0, "y": 4.0, "flux": 10.0, "_id": "s1"}, *measured(proposals[1:])])
    assert [(one.id, one.point) for one in view.best] == [("s1", {"x": 1.0, "y": 4.0})]


def test_the_same_configuration_and_data_give_the_same_points(kind) -> None:
    def life():
        adapter, points = adapter_of(kind), []
        for i in range(7):
            proposals, _ = adapter.suggest([f"s{i}", f"t{i}"])
            points += [one.point for one in proposals]
            adapter.ingest(measured(proposals))
        return points

    assert life() == life()


def test_a_replay_gives_equal_data_and_an_equal_best(kind) -> None:
    first, facts = adapter_of(kind), []

    def suggest(*ids):
        proposals, _ = first.suggest(ids)
        points = tuple(one.point for one in proposals)
        facts.append(SuggestFact(ids, points, tuple(one.brain_id for one in proposals)))
        return proposals

    def ingest(points):
        facts.append(IngestFact(tuple(points)))
        return first.ingest(points)

    a, b, c, d = suggest("a", "b", "c", "d")
    ingest(measured([a, b]))
    first.fail([{**c.point, "_id": "c"}])
    facts.append(FailFact(({**c.point, "_id": "c"},)))
    first.edit("d", {"x": 1.5, "y": 4.5})
    facts.append(EditFact("d", {"x": 1.5, "y": 4.5}))
    [e] = suggest("e")
    before = ingest([{"x": 1.5, "y": 4.5, "flux": 9.5, "_id": "d"}, {"x": 3.0, "y": 3.0, "flux": 5.0}])

    second = adapter_of(kind)
    after = second.replay(facts)
    assert after.best == before.best
    assert after.stop == before.stop
    assert second.report().report == first.report().report
    # a suggestion still open is known to the new brain by its id
    assert first.ingest(measured([e])).best == second.ingest(measured([e])).best
    if kind in SHIPPED:
        taken = [one.point for one in (a, b, c, d, e)]
        assert second.suggest(["f"])[0][0].point not in taken


def test_it_goes_on_after_a_replay_of_nothing(adapter) -> None:
    view = adapter.replay([])
    assert (view.best, view.stop) == ((), None)
    assert adapter.suggest(["s1"])[0]


# --- the types we ship


def test_every_shipped_type_is_installed() -> None:
    assert {one.name for one in types.installed()} >= set(SHIPPED)


@pytest.mark.parametrize("kind", SHIPPED)
def test_the_schema_is_valid_and_describes_every_field(kind) -> None:
    found = types.resolve(kind)
    schema = found.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(CONFIGS[kind], schema)
    undescribed = [name for name, field in schema["properties"].items() if not field.get("description")]
    assert undescribed == []
    assert found.summary.endswith(".")


@pytest.mark.parametrize("kind", SHIPPED)
def test_the_report_is_fit_for_json(kind) -> None:
    adapter = adapter_of(kind)
    for i in range(5):
        adapter.ingest(measured(adapter.suggest([f"s{i}"])[0]))
    report = adapter.report().report
    assert report["n_measured"] == 5
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        ("bayes", {"bounds": {"x": [5, -5], "y": [0, 1]}}, "config.bounds.x"),
        ("bayes", {"bounds": {"x": [0, 1]}}, "config.bounds.y"),
        ("bayes", {"bounds": {"x": [0, 1], "y": [0, 1], "z": [0, 1]}}, "config.bounds.z"),
        ("bayes", {"objective": "fluks"}, "config.objective"),
        ("bayes", {"n_initial": 0}, "config.n_initial"),
        ("bayes", {"kappa": 2}, "config.kappa"),
        ("sobol", {"bounds": {"x": [0, 1], "z": [0, 1]}}, "config.bounds.z"),
        ("sobol", {"n_points": "many"}, "config.n_points"),
        ("sequence", {"points": [{"x": 1}]}, "config.points.0.y"),
        ("sequence", {"points": [{"x": 1, "y": 1, "z": 1}]}, "config.points.0.z"),
        ("sequence", {"points": []}, "config.points"),
        ("sequence", {"points": [{"x": 1, "y": 1}, {"x": 1}]}, "config"),
    ],
)
def test_a_wrong_configuration_names_the_field(kind, changes, field) -> None:
    spec = spec_of(kind, config={**CONFIGS[kind], **changes})
    with pytest.raises(InvalidConfig) as caught:
        types.resolve(kind).validate(spec)
    assert field in [one.field for one in caught.value.errors]


def test_bayes_needs_to_know_which_of_two_outcomes_to_judge_by() -> None:
    with pytest.raises(InvalidConfig, match="name one of flux, width"):
        types.resolve("bayes").validate(spec_of("bayes", outcome=["flux", "width"]))
