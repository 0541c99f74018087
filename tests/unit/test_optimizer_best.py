"""What a brain's ``get_best_points`` may get wrong is said in words, not as a KeyError of ours."""

import pytest

from agent_service.brains.adapters.optimizer import OptimizerAdapter
from agent_service.models import AgentSpec

SPEC = AgentSpec(name="a", type="t", actuators=["x"], outcome="y")


class Brain:
    def __init__(self, best) -> None:
        self.best = best

    def suggest(self, num_points=None):
        return []

    def ingest(self, points):
        pass

    def get_best_points(self):
        return self.best


@pytest.mark.parametrize(
    ("best", "said"),
    [
        (None, "returned NoneType; return a list of"),
        ({"x": 1}, "returned dict; return a list of"),
        ("best", "returned str; return a list of"),
        ([{"x": 1, "y": 2}], "a list with a dict in it; return"),
        ([({"x": 1}, {"y": 2})], "a list with a tuple in it; return"),
        ([(0, 1.0, 2.0)], "a list with a tuple in it; return"),
        ([None], "a list with a NoneType in it; return"),
    ],
)
def test_a_wrong_shape_is_named(best, said):
    adapter = OptimizerAdapter(Brain(best), spec=SPEC)
    view = adapter.ingest([{"x": 1.0, "y": 2.0}])
    assert view.best == ()
    assert said in view.fault
    assert "(_id, point, outcome)" in view.fault


def test_the_fault_is_gone_with_what_was_wrong():
    brain = Brain(None)
    adapter = OptimizerAdapter(brain, spec=SPEC)
    assert adapter.ingest([{"x": 1.0, "y": 2.0}]).fault
    brain.best = []
    assert adapter.view().fault, "it is not asked again before something changed"
    assert adapter.look().fault is None


def test_what_it_raises_is_a_note_and_no_end():
    class Raising(Brain):
        def get_best_points(self):
            raise AssertionError

        def should_stop(self):
            raise ValueError("too few points")

        def report(self):
            raise KeyError("trial 3")

    adapter = OptimizerAdapter(Raising(None), spec=SPEC)
    view = adapter.ingest([{"x": 1.0, "y": 2.0}])
    assert (view.best, view.stop) == ((), None)
    assert view.fault == (
        "its get_best_points raised AssertionError: AssertionError; its should_stop raised ValueError: too few points"
    )
    told = adapter.report()
    assert (told.report, told.fault) == (None, "its report raised KeyError: 'trial 3'")


def test_the_right_shape_is_taken():
    adapter = OptimizerAdapter(Brain([(None, {"x": 1}, {"y": 2})]), spec=SPEC)
    [best] = adapter.ingest([{"x": 1.0, "y": 2.0}]).best
    assert (best.point, best.outcome) == ({"x": 1.0}, {"y": 2.0})
