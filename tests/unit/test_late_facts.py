"""A fact whose commit failed and came to pass: who asked was refused, and what follows from it happens all the same."""

import asyncio

import pytest
from faulty_journal import FaultyJournal
from headless_service import service

from agent_service.errors import BackendUnavailable
from agent_service.models import EventKind
from agent_service.models.state_machines import AgentState, SuggestionState


@pytest.fixture
def faulty(monkeypatch):
    return FaultyJournal(monkeypatch)


async def until(agent, condition):
    async with asyncio.timeout(20):
        while not condition():
            await agent.changed()


async def test_a_stop_takes_back_the_plan_that_waits(tmp_path, faulty):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await rooms.create("walker")
        life = rooms.supervisor.lives["walker"]
        await life.start()
        await until(agent, lambda: agent.record.open_in(SuggestionState.SUBMITTED))
        faulty.fail_at(EventKind.AGENT_STATE, mode="answer lost", times=1, state=AgentState.STOPPING)
        with pytest.raises(BackendUnavailable):
            await life.stop()
        await until(agent, lambda: life.state is AgentState.STOPPED)
        assert rooms.sink.status.pending == 0
        assert not agent.record.open
        assert not agent.brain.is_there


async def test_a_start_is_ended_and_says_so(tmp_path, faulty):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await rooms.create("walker")
        life = rooms.supervisor.lives["walker"]
        faulty.fail_at(EventKind.AGENT_STATE, mode="answer lost", times=1, state=AgentState.STARTING)
        with pytest.raises(BackendUnavailable):
            await life.start()
        await until(agent, lambda: life.state is AgentState.STOPPED)
        assert "its start was refused" in agent.record.reason
        await life.start(paused=True)
        assert life.state is AgentState.PAUSED
