"""Plans that an agent chooses for each point: what runs is what it chose for the very point that was allowed."""

import threading

import pytest
import rig
from services import wait_until

from agent_service import references
from agent_service.brains import live_objects
from agent_service.brains.adapters.agent_0x import Exchange
from agent_service.launch.legacy.agents import MeasurementPlan


class Thinker:
    """An agent of 0.x that reports for as long as a test wants."""

    def __init__(self):
        self.exchange = Exchange(wanted=None)
        self.points = [3.0, 4.0]
        self.asked, self.thinking, self.go_on = [], threading.Event(), threading.Event()

    def measurement_plan(self, point):
        self.asked.append(float(point))
        if point == 2.0:
            raise ValueError("the stage is blocked at 2")
        return "bluesky.plans:list_scan", [["signal"], "x", [float(point)]], {}

    def unpack_run(self, run):
        return 0.0, 0.0

    def ingest(self, x, y):
        return {}

    def suggest(self, batch_size):
        return [{}], [self.points.pop(0)]

    def report(self):
        self.thinking.set()
        assert self.go_on.wait(20)
        return {}


@pytest.fixture
def thinker(start):
    """A thinker whose first point waits for a person; x has been nowhere since."""
    agent, service = Thinker(), start()
    made = [live_objects.register(thing) for thing in (agent, MeasurementPlan(agent.exchange))]
    loop = {"approval": "required"}
    service.create("thinker", type=made[0], plan=made[1], actuators=["x"], sensors=["signal"], loop=loop)
    service.post("agents/thinker/start")
    wait_until(lambda: service.suggestions("thinker", state="proposed"))
    rig.x.set(0.0).wait(5)
    been, agent.service = [], service
    token = rig.x.readback.subscribe(lambda value, **_: been.append(value), run=False)
    agent.been = been
    yield agent
    agent.go_on.set()
    rig.x.readback.unsubscribe(token)
    for reference in made:
        references.forget(reference)


def first(service):
    return service.suggestions("thinker")[0]


def test_an_edited_point_waits_for_its_own_plan(thinker):
    service, answers = thinker.service, []
    reporting = threading.Thread(target=lambda: answers.append(service.post("agents/thinker/report")))
    reporting.start()
    assert thinker.thinking.wait(20)
    one = first(service)
    edit = threading.Thread(
        target=lambda: answers.append(service.post(f"suggestions/{one['id']}/approve", {"point": {"x": 5.0}}))
    )
    edit.start()
    edit.join(1.0)  # however soon, nothing is measured before the agent has said how
    assert first(service)["state"] == "proposed"
    thinker.go_on.set()
    for thread in (edit, reporting):
        thread.join(20)
    wait_until(lambda: first(service)["state"] == "ingested")
    assert thinker.been == [5.0]
    assert first(service)["point"] == {"x": 5.0}


def test_a_point_without_a_plan_is_not_approved_and_the_agent_goes_on(thinker):
    service = thinker.service
    one = first(service)
    found = service.problem("POST", f"suggestions/{one['id']}/approve", 502, "agent_fault", json={"point": {"x": 2.0}})
    assert "the stage is blocked at 2" in found["detail"]
    assert first(service)["state"] == "proposed"
    assert service.status("thinker")["state"] == "running"
    service.post(f"suggestions/{one['id']}/approve")
    wait_until(lambda: first(service)["state"] == "ingested")
    assert thinker.been == [3.0]
