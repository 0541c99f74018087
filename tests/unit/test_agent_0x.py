"""Agents of bluesky-adaptive 0.x behind the adapter: arrays on their side, names and numbers on the service's."""

from dataclasses import replace

import numpy as np
import pytest

from agent_service import references
from agent_service.brains import live_objects
from agent_service.brains.adapter import adapter_for
from agent_service.brains.adapters.agent_0x import Agent0xAdapter, Exchange, is_whole, outcome_of
from agent_service.brains.messages import IngestFact, SuggestFact
from agent_service.documents.runs import Run
from agent_service.errors import UnknownPlan
from agent_service.launch.legacy.agents import MeasurementPlan
from agent_service.launch.legacy.runs import RunView
from agent_service.models import AgentSpec
from agent_service.plans.sinks.queue_server.queued_plan import item_of
from agent_service.protocols import PlanOrder


class Agent:
    """The shape, and nothing of any library."""

    def __init__(self, points=(), exchange=None):
        self.points = list(points)
        self.told = []
        if exchange is not None:
            self.exchange = exchange

    def measurement_plan(self, point):
        return "scan", [point], {"md": {}}

    @staticmethod
    def unpack_run(run):
        return 0, 0

    def ingest(self, x, y):
        self.told.append((x, y))
        return {"x": x}

    def suggest(self, batch_size):
        given, self.points = self.points[:batch_size], self.points[batch_size:]
        return [{}], given

    def report(self, **kwargs):
        return {"told": len(self.told), **kwargs}


def spec(**fields):
    about = {"name": "a", "type": "site:Agent", "outcome": "y", "listen": "all", **fields}
    return AgentSpec.model_validate(about)


def hosted(agent, **fields):
    made = adapter_for(agent, spec=spec(**fields))
    assert isinstance(made, Agent0xAdapter)
    return made


def points_of(adapter, number):
    return [proposal.point for proposal in adapter.suggest([f"id-{i}" for i in range(number)])[0]]


@pytest.mark.parametrize(
    ("point", "named"),
    [
        (1, {"x": 1.0}),
        (np.float32(0.5), {"x": 0.5}),
        ([1, 2], {"x_0": 1.0, "x_1": 2.0}),
        (np.array([3.0]), {"x_0": 3.0}),
        (np.array(3.0), {"x": 3.0}),
        ((1, 2, 3), {"x_0": 1.0, "x_1": 2.0, "x_2": 3.0}),
    ],
)
def test_a_point_has_names_and_is_an_array_again_for_its_plan(point, named):
    agent = Agent([point])
    adapter = hosted(agent, plan="live:measurement-plan")
    assert points_of(adapter, 1) == [named]
    name, [given], _ = adapter._exchange.plan_of("id-0", named)
    assert name == "scan"
    assert np.array_equal(given, point)


def test_its_actuators_are_the_names_where_it_has_some():
    assert points_of(hosted(Agent([[1, 2]]), actuators=["mx", "my"]), 1) == [{"mx": 1.0, "my": 2.0}]
    with pytest.raises(ValueError, match="a point of 3 numbers for 2 actuators"):
        points_of(hosted(Agent([[1, 2, 3]]), actuators=["mx", "my"]), 1)


def test_a_batch_keeps_every_point():
    adapter = hosted(Agent([1, 2, 3, 4, 5]))
    assert points_of(adapter, 3) == [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}]
    many = Agent()
    many.suggest = lambda batch_size: ([{}], [1, 2, 3])  # more than it was asked for
    adapter = hosted(many)
    assert [points_of(adapter, 1) for _ in range(3)] == [[{"x": 1.0}], [{"x": 2.0}], [{"x": 3.0}]]


@pytest.mark.parametrize("answer", [None, [1, 2, 3], "ab", {"x": 1}, ([{}], ["text"]), ([{}], [float("nan")])])
def test_what_is_no_points_is_said(answer):
    agent = Agent()
    agent.suggest = lambda batch_size: answer
    with pytest.raises(ValueError, match=r"returned|no finite number"):
        points_of(hosted(agent), 1)


@pytest.mark.parametrize(
    ("x", "y"), [(1.5, 2.5), ([1, 2], [3.0]), (np.arange(3), np.float64(2)), (np.array(1), np.arange(32))]
)
def test_what_was_measured_is_what_it_is_told_again_after_a_restart(x, y):
    outcome = outcome_of(x, y)
    assert all(type(number) is float for number in outcome.values())
    assert is_whole(outcome)
    agent = Agent()
    hosted(agent).replay([IngestFact(({**outcome, "_id": "one"},))])
    [(told_x, told_y)] = agent.told
    assert np.array_equal(told_x, x)
    assert np.array_equal(told_y, y)


def test_an_image_is_told_as_it_is_and_kept_as_its_mean():
    image = np.arange(10000.0).reshape(100, 100)
    outcome = outcome_of(3, image)
    assert outcome == {"measured_x": 3.0, "y_mean": image.mean(), "y_size": 10000.0}
    exchange = Exchange(unpacked={"one": (outcome, 3, image)}, read_again=lambda point: (3, "read again"))
    agent = Agent(exchange=exchange)
    adapter = hosted(agent)
    adapter.ingest([{**outcome, "_id": "one"}, {**outcome, "_id": "two"}])
    assert agent.told[0][1] is image
    assert agent.told[1] == (3, "read again")


def test_a_type_with_actuators_and_outcomes_needs_nothing_else():
    agent = Agent()
    adapter = hosted(agent, actuators=["mx", "my"], outcome=["flux", "width"])
    adapter.ingest([{"mx": 1.0, "my": 2.0, "flux": 3.0, "width": 4.0, "_id": "i"}])
    [(x, y)] = agent.told
    assert (list(x), list(y)) == ([1.0, 2.0], [3.0, 4.0])
    assert adapter.report().report == {"told": 1}


def test_it_is_asked_for_what_is_wanted_and_no_more():
    exchange = Exchange(after_ingest=lambda: 2)
    adapter = hosted(Agent([1, 2, 3, 4], exchange=exchange))
    assert points_of(adapter, 3) == []
    exchange.wanted = 1
    assert points_of(adapter, 3) == [{"x": 1.0}]
    adapter.ingest([{"measured_x": 1.0, "y": 1.0}])
    assert points_of(adapter, 3) == [{"x": 2.0}, {"x": 3.0}]
    assert points_of(adapter, 3) == []


def test_the_same_object_is_told_nothing_twice_and_a_new_one_everything():
    facts = [
        SuggestFact(ids=("a",), points=({"x": 1.0},), brain_ids=(None,)),
        IngestFact(({"measured_x": 1.0, "y": 2.0, "_id": "a"},)),
        IngestFact(({"measured_x": 5.0, "y": 6.0},)),
    ]
    agent = Agent([1, 2], exchange=Exchange(wanted=1))
    adapter = hosted(agent, plan="live:plan")
    adapter.suggest(["a"])
    adapter.ingest([{"measured_x": 1.0, "y": 2.0, "_id": "a"}])
    hosted(agent, plan="live:plan").replay(facts)
    assert agent.told == [(1.0, 2.0), (5.0, 6.0)]
    assert agent.points == [2]
    fresh = Agent([1, 2], exchange=Exchange())
    hosted(fresh, plan="live:plan").replay(facts)
    assert fresh.told == [(1.0, 2.0), (5.0, 6.0)]
    assert fresh.exchange.plan_of("a", {"x": 1.0})[1] == [1.0]
    assert fresh.exchange.wanted == 0  # what it was told long ago lets it ask for nothing


def test_one_without_suggest_only_listens():
    class Passive(Agent):
        suggest = None

    assert not hosted(Passive()).traits().suggests
    assert hosted(Agent()).traits().suggests


def test_a_run_reads_as_one_of_a_catalogue():
    start, stop = {"uid": "r", "time": 0.0, "sample": "Si"}, {"uid": "s", "run_start": "r", "exit_status": "success"}
    keys = {
        "det": {"dtype": "number", "shape": [], "source": ""},
        "img": {"dtype": "array", "shape": [2], "source": ""},
    }
    descriptor = {"uid": "d", "run_start": "r", "name": "primary", "data_keys": keys}
    events = [
        {"uid": str(i), "descriptor": "d", "seq_num": i + 1, "time": float(i), "data": {"det": i, "img": [i, i]}}
        for i in range(3)
    ]
    documents = [("start", start), ("descriptor", descriptor), *(("event", one) for one in events), ("stop", stop)]
    run = RunView(Run(tuple(documents)))
    assert (run.start["sample"], run.stop["exit_status"], run.metadata["start"]["uid"]) == ("Si", "success", "r")
    assert (list(run), len(run), "primary" in run, run.v2 is run) == (["primary"], 1, True, True)
    for way in (
        run.primary.data["det"],
        run["primary"]["det"],
        run["primary"]["data"]["det"],
        run.primary.read()["det"],
    ):
        assert list(way) == [0, 1, 2]
    assert run.primary.read()["img"].shape == (3, 2)
    assert len(list(run.documents(fill=True))) == 6
    with pytest.raises(KeyError):
        run["baseline"]
    with pytest.raises(AttributeError, match="it has: primary"):
        run.baseline  # noqa: B018 - it raises


def test_the_queue_server_is_given_the_plan_that_it_names():
    exchange = Exchange()
    exchange.keep_plan("s", {"x": 1.0}, ("scan", [["det"], "motor", 1.0], {"num": 3, "md": {"purpose": "walk"}}))
    reference = live_objects.register(MeasurementPlan(exchange))
    order = PlanOrder("s", "walker", {"x": 1.0}, reference, (), ())
    try:
        item = item_of(order, {"proposal": 1}, user_md={})
        again = item_of(replace(order, suggestion_id="again"), {}, user_md={})
        with pytest.raises(UnknownPlan, match="gave no plan for x 2, so nothing moved"):
            item_of(replace(order, point={"x": 2.0}), {}, user_md={})
    finally:
        references.forget(reference)
    assert (item["name"], item["args"], item["kwargs"]) == ("scan", [["det"], "motor", 1.0], {"num": 3})
    assert (again["name"], again["args"]) == (item["name"], item["args"])
    assert item["meta"] == {"purpose": "walk", "proposal": 1, "agent_name": "walker", "agent_suggestion_uid": "s"}


def test_a_plan_that_raises_for_a_point_of_before_keeps_no_agent_from_coming_back():
    class Blocked(Agent):
        def measurement_plan(self, point):
            if point == 1.0:
                raise RuntimeError("the stage is blocked at 1")
            return super().measurement_plan(point)

    agent = Blocked(exchange=Exchange())
    points = ({"x": 1.0}, {"x": 2.0})
    hosted(agent, plan="live:plan").replay([SuggestFact(ids=("a", "b"), points=points, brain_ids=(None, None))])
    assert agent.exchange.plan_of("a", points[0]) is None  # and so it is not measured
    assert agent.exchange.plan_of("b", points[1])[1] == [2.0]


def test_what_is_asked_for_by_hand_takes_nothing_of_what_its_loop_is_to_get():
    exchange = Exchange(wanted=1)
    adapter = hosted(Agent([1, 2, 3], exchange=exchange))
    with exchange.asked_for(2):
        assert points_of(adapter, 2) == [{"x": 1.0}, {"x": 2.0}]
    assert points_of(adapter, 2) == [{"x": 3.0}]
