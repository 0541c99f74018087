"""What follows a fault of a brain: a restart, or its end."""

import pytest

from agent_service.agents.brain_restarts import LONGEST_PAUSE_S, RestartPolicy
from agent_service.agents.record.agent import AgentRecord
from agent_service.errors import AgentFault
from agent_service.models import AgentSpec, RestartAs, utcnow
from agent_service.models.state_machines import AgentState


@pytest.fixture
def record():
    one = AgentRecord(AgentSpec(name="a", type="sobol", outcome="det"), utcnow())
    one.state = AgentState.RUNNING
    return one


def test_a_machine_that_is_lost_is_no_fault_of_the_agent(record):
    policy = RestartPolicy()
    policy.begin(RestartAs(state=AgentState.RUNNING), attended=True)
    assert policy.next(record, AgentFault("its process ended", died=True)) is None, 'on_fault is "fail"'
    lost = AgentFault("the worker is gone", place_lost=True)
    pauses = []
    for _ in range(20):
        restart = policy.next(record, lost)
        policy.began(restart)
        pauses.append(restart.pause_s)
    assert pauses[:3] == [1, 2, 4]
    assert max(pauses) == LONGEST_PAUSE_S
    assert policy.in_row == 0
    policy.succeeded()
    assert policy.next(record, lost).pause_s == 1
