"""The facts of one agent: what its state machines allow is written, and nothing else."""

import pytest

from agent_service.errors import IllegalTransition
from agent_service.models import EventKind
from agent_service.models.state_machines import AgentState, SuggestionState
from tests.support import headless_service


@pytest.fixture
async def rooms(tmp_path):
    async with headless_service.service(tmp_path / "journal.db") as rooms:
        yield rooms


@pytest.fixture
async def agent(rooms):
    agent = await rooms.create("alice")
    fact = {"id": "s-1", "state": "proposed", "point": {"motor": 1.0}, "plan": "acquire", "by": "loop"}
    await agent.facts.write([(EventKind.SUGGESTION_STATE, fact)])
    return agent


async def test_an_illegal_state_is_refused_and_not_written(rooms, agent):
    before = rooms.journal.last_seq
    with pytest.raises(IllegalTransition):
        await agent.facts.become(AgentState.PAUSED)
    assert (agent.record.state, rooms.journal.last_seq) == (AgentState.CREATED, before)


async def test_of_several_states_all_are_written_or_none(rooms, agent):
    before = rooms.journal.last_seq
    with pytest.raises(IllegalTransition):
        await agent.facts.become_in_turn((AgentState.STARTING, {"reason": None}), (AgentState.CREATED, {}))
    assert rooms.journal.last_seq == before
    await agent.facts.become_in_turn((AgentState.STARTING, {"reason": None}), (AgentState.RUNNING, {"reason": None}))
    assert agent.record.state is AgentState.RUNNING


async def test_a_state_is_left_only_if_it_is_the_present_one(agent):
    assert not await agent.facts.become_from({AgentState.RUNNING}, AgentState.STOPPING)
    assert await agent.facts.become_from({AgentState.CREATED}, AgentState.STARTING)
    assert agent.record.state is AgentState.STARTING


async def test_a_fate_follows_the_machine_and_a_reason_is_one_line(rooms, agent):
    with pytest.raises(IllegalTransition):
        await agent.facts.advance("s-1", SuggestionState.RUNNING)
    rejected = await agent.facts.advance("s-1", SuggestionState.REJECTED, reason="too\nfar")
    assert (rejected.state, "\n" in rejected.reason) == (SuggestionState.REJECTED, False)


async def test_the_time_of_a_run_ends_with_its_plan(rooms, agent):
    for fate in (SuggestionState.APPROVED, SuggestionState.SUBMITTED, SuggestionState.RUNNING):
        await agent.facts.advance("s-1", fate)
    agent.facts.run_ended("s-1")
    await agent.facts.advance("s-1", SuggestionState.MEASURED, outcome={"det": 1.0})
    assert 0 <= rooms.journal.read(after=rooms.journal.last_seq - 1)[0].data["run_time_s"] < 60
