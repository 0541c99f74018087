"""The best that was measured and what a brain calls the best, told apart wherever they stand."""

import brainbox
import pytest

from agent_service.client import Client
from agent_service.errors import Conflict


class Silent:
    """Says nothing of the best."""

    def suggest(self, num_points=None):
        return [{"x": 0.0, "y": 0.0}]

    def ingest(self, points):
        pass


class Odd(brainbox.Walker):
    """Calls a point the best that was never measured."""

    def get_best_points(self):
        return [(None, {"x": 0.5, "y": 0.5}, {"signal": 7.0})] if self.points else []


class Wrong(brainbox.Walker):
    """Gives its best point without an id and an outcome."""

    def get_best_points(self):
        return [{"x": 2.0, "y": 0.0}]


POINTS = [{"x": 1.0, "y": 0.0, "signal": 3.0}, {"x": 2.0, "y": 0.0, "signal": 5.0}, {"x": 3.0, "y": 0.0, "signal": 4.0}]


@pytest.fixture
def client(served):
    with Client(served.url, api_key=served.server.api_key) as made:
        yield made


def told(served, client, name, **fields):
    served.create(name, loop={"approval": "required"}, **fields)
    client.start(name)
    client.ingest(name, POINTS)
    client.pause(name)
    return client.agent(name)


def test_an_agent_that_says_no_best_point_has_a_best_measured(served, client):
    status = told(served, client, "silent", type=f"{__name__}:Silent")
    assert (status.best.point, status.best.outcome) == ({"x": 2.0, "y": 0.0}, {"signal": 5.0})
    assert (status.best_by_model, status.objective, status.direction) == (None, "signal", "maximize")
    assert client.best("silent") == [status.best]
    assert served.get("agents/silent/best")["by"] == "measured"
    assert client.go_to_best("silent") == status.best
    found = served.problem("POST", "agents/silent/go-to-best", 409, "conflict", json={"by": "model"})
    assert "says no best point of its own" in found["detail"]


def test_best_points_of_the_wrong_shape_are_told_and_do_not_end_the_agent(served, client, caplog):
    status = told(served, client, "wrong", type=f"{__name__}:Wrong")
    assert (status.best.outcome, status.best_by_model) == ({"signal": 5.0}, None)
    client.resume("wrong")
    client.ingest("wrong", POINTS)
    said = "agent wrong: get_best_points returned a list with a dict in it; return (_id, point, outcome) for each"
    assert [one.getMessage() for one in caplog.records if "get_best_points" in one.getMessage()] == [said], "told once"
    assert served.status("wrong")["state"] == "running"


def test_a_point_that_only_the_model_knows_is_never_the_best_measured(served, client):
    status = told(served, client, "odd", type=f"{__name__}:Odd")
    assert status.best.outcome == {"signal": 5.0}
    assert status.best_by_model.outcome == {"signal": 7.0}
    assert client.best("odd") == [status.best_by_model]
    assert served.get("agents/odd/best")["by"] == "model"
    assert client.go_to_best("odd").point == {"x": 2.0, "y": 0.0}
    assert client.go_to_best("odd", by="model").point == {"x": 0.5, "y": 0.5}


def test_less_may_be_better(served, client):
    status = told(served, client, "least", type=f"{__name__}:Silent", direction="minimize")
    assert (status.best.outcome, status.direction) == ({"signal": 3.0}, "minimize")


def test_points_by_hand_are_counted(served, client):
    status = told(served, client, "hand", type=f"{__name__}:Silent")
    assert (status.counts.by_hand, status.counts.ingested, status.progress.done) == (3, 0, 0)


def test_each_told_again_says_where_it_is_from(served, client):
    served.create("again", loop={"approval": "required"})
    client.start("again")
    found = served.problem("POST", "agents/again/ingest", 422, "invalid_input", json={"points": POINTS, "retold": [{}]})
    assert "one entry of retold for each of points" in found["detail"]
    origins = [{"run_uid": f"run-{i}", "counts": i < 2} for i in range(3)]
    assert client.ingest("again", POINTS, retold=origins) == 3
    assert client.ingest("again", POINTS, retold=origins) == 0, "these runs were told"
    status = client.agent("again")
    assert (status.counts.retold, status.counts.by_hand, status.progress.done) == (3, 0, 2)


def test_nothing_moves_when_the_best_is_another_one_than_was_seen(served, client):
    """Whoever may only control could have slipped another one in, a moment before."""
    seen = told(served, client, "swapped", type=f"{__name__}:Silent").best.point
    client.resume("swapped")
    client.ingest("swapped", [{"x": 4.0, "y": 4.0, "signal": 99.0}])
    client.pause("swapped")
    with pytest.raises(Conflict, match="another one by now: x 4, y 4"):
        client.go_to_best("swapped", point=seen)
    assert client.go_to_best("swapped", point={"x": 4, "y": 4}).outcome == {"signal": 99.0}
