"""Each family behind its adapter: how many points may wait, and that what it thinks is a note at the worst."""

import pytest
from families import FAMILIES
from life import CONTINUOUS, Life, hosted, spec_of

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def life(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # of a study in a database
    family = FAMILIES[request.param]
    return Life(hosted(spec_of(CONTINUOUS, family.outcome, family.type, config=family.config)))


@pytest.mark.parametrize(("life", "family"), [(name, name) for name in FAMILIES], indirect=["life"])
def test_points_that_wait_are_as_many_as_it_says_and_none_twice(life, family):
    most = FAMILIES[family].most_pending
    assert life.adapter.traits().most_pending == most
    last = life.measure(FAMILIES[family].learns_after if most is None else most)
    waiting = [life.suggest().point for _ in range(most or 3)]
    places = {tuple(round(value, 2) for value in point.values()) for point in [last.point, *waiting]}
    assert len(places) == 1 + len(waiting)
    if most is not None:
        assert isinstance(life.suggest(), str)


@pytest.mark.parametrize("life", FAMILIES, indirect=True)
def test_what_it_thinks_is_no_end_of_it(life, monkeypatch):
    life.measure()
    brain = life.adapter._calls._brain
    raised = {"get_best_points": AssertionError, "should_stop": ValueError, "report": KeyError}
    for method, error in raised.items():
        monkeypatch.setattr(brain, method, _raising(error("no model yet")), raising=False)
    one = life.suggest()
    view = life.ingest({**one.point, "flux": 1.0, "width": 2.0, "_id": one.id})
    assert view.fault == (
        "its get_best_points raised AssertionError: no model yet; its should_stop raised ValueError: no model yet"
    )
    assert (view.best, view.stop) == ((), None)
    assert life.adapter.report().fault == "its report raised KeyError: 'no model yet'"
    life.measure()
    monkeypatch.undo()
    for method, answer in {"get_best_points": [], "should_stop": False}.items():
        monkeypatch.setattr(brain, method, lambda answer=answer: answer, raising=False)
    assert life.adapter.look().fault is None
    assert life.adapter.report().report["n_measured"] == 3


def _raising(error):
    def raises(*args):
        raise error

    return raises
