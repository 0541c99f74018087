"""What an agent believes of points that nobody measured, over HTTP."""

import math

import pytest

from agent_service import Client
from agent_service.errors import AgentFault, Forbidden, InvalidPoint, NotFound
from agent_service.service.keys import KeyFile, scopes_of

MEASURED = [{"x": x, "y": y, "signal": 5 - x**2 - y**2} for x in (-2.0, 0.0, 2.0) for y in (-2.0, 0.5, 2.0)]
GRID = [{"x": -2 + 4 * i / 29, "y": -2 + 4 * j / 29} for i in range(30) for j in range(30)]


@pytest.fixture(params=["thread", "process"])
def client(start, request):
    service = start()
    config = {"bounds": {"x": [-2, 2], "y": [-2, 2]}, "objective": "signal"}
    service.create("aligner", type="bayes", config=config, executor=request.param)
    service.post("agents/aligner/start?paused=true")
    with Client(service.url, api_key=service.server.api_key) as one:
        yield one


def test_means_and_spreads_of_a_map_in_the_order_of_its_points(client):
    assert client.predict("aligner", GRID[:2]).mean == {}, "it knows nothing yet"
    client.ingest("aligner", MEASURED)
    found = client.predict("aligner", GRID)
    means, spreads = found.mean["signal"], found.std["signal"]
    assert len(means) == len(spreads) == len(found.acquisition) == len(GRID)
    best = GRID[max(range(len(GRID)), key=means.__getitem__)]
    assert math.hypot(best["x"], best["y"]) < 0.5
    assert all(spread >= 0 for spread in spreads)
    near = min(range(len(GRID)), key=lambda i: math.hypot(GRID[i]["x"] - 0.0, GRID[i]["y"] - 0.5))
    between = min(range(len(GRID)), key=lambda i: math.hypot(GRID[i]["x"] - 1.0, GRID[i]["y"] - 1.2))
    assert spreads[near] < spreads[between], "it is surer where it measured"
    assert found.n_ingests == 1


def test_an_answer_is_kept_until_the_brain_is_told_something(client):
    client.ingest("aligner", MEASURED)
    first = client.predict("aligner", GRID[:9])
    assert client.predict("aligner", GRID[:9]) == first
    client.ingest("aligner", [{"x": 1.0, "y": 1.0, "signal": 9.0}])
    later = client.predict("aligner", GRID[:9])
    assert (later.n_ingests, later.mean != first.mean) == (2, True)


def test_nothing_of_it_is_written_down(client):
    client.ingest("aligner", MEASURED)
    before = [event.seq for event in client.history("aligner")]
    client.predict("aligner", GRID)
    assert [event.seq for event in client.history("aligner")] == before
    assert client.agent("aligner").state == "paused"


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"x": 1.0}, "point 1: .*y is missing"),
        ({"x": 1.0, "y": "up"}, "point 1: .*y"),
        ({"x": 1.0, "y": 0.0, "z": 0.0}, "point 1: .*z"),
    ],
)
def test_what_is_no_point_is_said_with_its_place(client, point, said):
    with pytest.raises(InvalidPoint, match=said):
        client.predict("aligner", [GRID[0], point])


def test_a_brain_without_predict(client):
    client.create(name="walker", type="brainbox:Walker", actuators=["x", "y"], sensors=["signal"], outcome="signal")
    client.start("walker", paused=True)
    with pytest.raises(NotFound, match="no predict method; give it one"):
        client.predict("walker", GRID[:1])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("short", r"predict returned list of 1 for 2 points; return one mapping"),
        ("scalar", r"predict returned float for signal; return \(mean, std\)"),
        ("nan", r"the mean of signal is nan"),
        ("negative", "negative std for signal"),
        ("raises", "its predict raised RuntimeError: no model"),
    ],
)
def test_an_odd_answer_is_said_and_no_end_of_the_agent(client, answer, said):
    spec = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
    client.create(name="odd", type="odd_brains:OddBelief", config={"answer": answer}, **spec)
    client.start("odd", paused=True)
    with pytest.raises(AgentFault, match=said):
        client.predict("odd", GRID[:2])
    assert client.agent("odd").state == "paused"
    assert client.suggest("odd", 1)


def test_who_may_only_read_may_look(start, tmp_path):
    service = start()
    _, key = KeyFile(tmp_path / "state" / "keys.jsonl").create("reader", scopes_of("read"))
    service.create("aligner", type="bayes", config={"bounds": {"x": [0, 1], "y": [0, 1]}, "objective": "signal"})
    service.post("agents/aligner/start?paused=true")
    with Client(service.url, api_key=key) as reader:
        assert reader.predict("aligner", [{"x": 0.5, "y": 0.5}]).mean == {}
        with pytest.raises(Forbidden):
            reader.suggest("aligner", 1)
