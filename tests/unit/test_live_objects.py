"""Live objects: the registry, and beginning again from a birth pickle."""

import threading

import pytest

from agent_service import references
from agent_service.brains import live_objects, types
from agent_service.brains.evaluate import load_function
from agent_service.errors import AlreadyExists, Conflict, InvalidConfig, InvalidInput, UnknownPlan, UnknownType
from agent_service.models import AgentSpec
from agent_service.plans import startup


class Brain:
    """Counts what it was told."""

    def __init__(self, told=0):
        self.told = told

    def suggest(self, num_points=None):
        return [{"x": 0.0}]

    def ingest(self, points):
        self.told += len(points)


class Locked(Brain):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def spec(type_, **fields):
    return AgentSpec(name="a", type=type_, actuators=["x"], outcome="y", **fields)


@pytest.fixture
def registered():
    made = []

    def register(thing, **options):
        made.append(live_objects.register(thing, **options))
        return made[-1]

    yield register
    for one in made:
        references.forget(one)


def test_an_object_is_used_as_it_is_and_then_born_again(registered):
    brain = Brain(told=2)
    reference = registered(brain)
    found = types.resolve(reference)
    assert found.summary == "Counts what it was told."
    assert found.build(spec(reference)) is brain
    brain.ingest([{}])
    again = found.build(spec(reference))
    assert again is not brain
    assert again.told == 2, "the replay brings what it was told"


def test_an_object_takes_no_configuration(registered):
    reference = registered(Brain())
    with pytest.raises(InvalidConfig, match=r"config\.told: is unknown; it takes nothing"):
        types.resolve(reference).validate(spec(reference, config={"told": 1}))


def test_an_object_that_does_not_pickle_begins_once(registered):
    reference = registered(Locked())
    live_objects.require(reference)
    types.resolve(reference).build(spec(reference))
    with pytest.raises(Conflict, match="does not pickle"):
        live_objects.require(reference)
    with pytest.raises(Conflict, match="lock"):
        types.resolve(reference).build(spec(reference))


@pytest.mark.parametrize("factory", [Brain, lambda told=0: Brain(told)])
def test_a_class_or_factory_is_called_with_config(registered, factory):
    reference = registered(factory)
    found = types.resolve(reference)
    found.validate(spec(reference, config={"told": 5}))
    first, second = (found.build(spec(reference, config={"told": 5})) for _ in range(2))
    assert first.told == second.told == 5
    assert first is not second


def test_functions_evaluate_and_plan(registered):
    reference = registered(lambda run, suggestions: [])
    assert load_function(reference)(None, []) == []
    assert startup.Namespace({}, source="nothing").plan(reference)(1, 2) == []


def test_what_is_gone_says_so():
    for look, error in [
        (types.resolve, UnknownType),
        (live_objects.require, UnknownType),
        (load_function, InvalidInput),
        (startup.Namespace({}, source="nothing").plan, UnknownPlan),
    ]:
        with pytest.raises(error, match="is not in this process"):
            look("live:gone")


@pytest.mark.parametrize("thing", [5, "text", object(), int, {"a": 1}])
def test_what_is_no_brain_is_refused(thing):
    with pytest.raises(InvalidInput, match=r"has no suggest and no ingest|brain, its class, or a function"):
        live_objects.register(thing)


def test_names(registered):
    assert registered(Brain(), name="mine") == "live:mine"
    with pytest.raises(AlreadyExists):
        live_objects.register(Brain(), name="mine")
    references.forget("live:mine")
    references.forget("live:mine")
    assert registered(Brain(), name="mine") == "live:mine"
    assert registered(Brain()) != registered(Brain())
