"""A thousand points are back in seconds of CPU, from a saved state or told in bulk, and none is asked for again."""

import random
import time

import pytest
from families import FAMILIES
from life import CONTINUOUS, hosted, measured, spec_of

from agent_service.brains.messages import FailFact, IngestFact, SuggestFact

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
POINTS = 1000
MOST_CPU_S = 3.0  # the promise; what each takes is measured by tests/benchmarks/restart.py


@pytest.fixture
def new(request, tmp_path, monkeypatch):
    """Make one more brain of the family; to ask it for a point is a mistake."""
    monkeypatch.chdir(tmp_path)  # of a study in a database
    family = FAMILIES[request.param]

    def make():
        return hosted(spec_of(CONTINUOUS, family.outcome, family.type, config=family.config))

    return make


def life(number):
    """Return the facts of a life in which each point was suggested, and measured."""
    draw = random.Random(1)
    for i in range(number):
        point = {name: draw.uniform(-3, 3) for name in CONTINUOUS}
        yield SuggestFact((f"s{i}",), (point,), (None,))
        yield IngestFact((measured(point, f"s{i}"),))


def forbid_asking(adapter, monkeypatch):
    def suggest(num_points=None):
        pytest.fail("it was asked for points that it had suggested")

    monkeypatch.setattr(adapter._calls._brain, "suggest", suggest)


@pytest.mark.parametrize("new", FAMILIES, indirect=True)
def test_they_are_back_and_none_is_asked_for_again(new, monkeypatch):
    before = new()
    with monkeypatch.context() as patched:
        forbid_asking(before, patched)
        before.replay([*life(POINTS)])
    known = before.report().report
    assert (known["n_measured"], known["n_pending"]) == (POINTS, 0)
    state = before.dump()
    assert state is not None
    after = new()
    began = time.process_time()
    after.restore(state)
    after.look()
    took_s = time.process_time() - began
    assert after.report().report == known
    assert took_s <= MOST_CPU_S


@pytest.mark.parametrize("new", FAMILIES, indirect=True)
def test_after_a_restart_it_is_told_what_came_after_its_state_alone(new, monkeypatch):
    *facts, suggested, _ = life(6)
    before = new()
    before.replay([*facts, suggested])
    after = new()
    after.restore(before.dump())
    told = []
    brain = after._calls._brain
    for method in ("ingest", "register_suggestions", "register_failures"):
        monkeypatch.setattr(brain, method, lambda points, method=method: told.append((method, len(points))))
    forbid_asking(after, monkeypatch)
    after.replay(
        [FailFact(({**suggested.points[0], "_id": suggested.ids[0]},)), IngestFact((measured({"x": 0.5, "y": 0.5}),))]
    )
    assert told == [("register_failures", 1), ("ingest", 1)]
