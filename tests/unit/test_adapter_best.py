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
    with pytest.raises(ValueError, match=said) as caught:
        adapter.ingest([{"x": 1.0, "y": 2.0}])
    assert "(_id, point, outcome)" in str(caught.value)


def test_the_right_shape_is_taken():
    adapter = OptimizerAdapter(Brain([(None, {"x": 1}, {"y": 2})]), spec=SPEC)
    [best] = adapter.ingest([{"x": 1.0, "y": 2.0}]).best
    assert (best.point, best.outcome) == ({"x": 1.0}, {"y": 2.0})
