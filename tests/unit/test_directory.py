"""Which agents there are, and whose a suggestion is."""

import pytest

from agent_service.agents.directory import HEARD_BEFORE_S, AgentDirectory
from agent_service.errors import NotFound
from agent_service.models import EventKind
from agent_service.models.state_machines import SuggestionState
from tests.support import headless_service


@pytest.fixture
async def rooms(tmp_path):
    async with headless_service.service(tmp_path / "journal.db") as rooms:
        yield rooms


async def propose(rooms, agent, suggestion_id):
    fact = {"id": suggestion_id, "state": "proposed", "point": {"motor": 1.0}, "plan": "acquire", "by": "person"}
    await rooms.journal.append(EventKind.SUGGESTION_STATE, agent, fact)


def test_without_agents_it_says_that_there_is_none():
    with pytest.raises(NotFound, match="there is no agent 'a'; there is none yet"):
        AgentDirectory(None).life("a")


async def test_an_agent_is_found_by_its_name_and_a_misspelt_one_is_not(rooms):
    agent = await rooms.create("alice")
    assert rooms.supervisor.agent("alice") is agent
    with pytest.raises(NotFound, match="alice"):
        rooms.supervisor.agent("alise")


async def test_a_suggestion_is_its_agents_until_that_is_removed(rooms):
    agent = await rooms.create("alice")
    await propose(rooms, "alice", "s-1")
    assert rooms.supervisor.owner("s-1") is agent
    assert list(agent.record.suggestions) == ["s-1"]
    await rooms.supervisor.delete("alice")
    assert rooms.supervisor.find_owner("s-1") is None
    with pytest.raises(NotFound, match="there is no suggestion s-1"):
        rooms.supervisor.owner("s-1")


async def test_what_was_submitted_is_undecided_with_the_run_that_is_known(rooms):
    agent = await rooms.create("alice")
    for suggestion_id in ("s-1", "s-2", "s-3"):
        await propose(rooms, "alice", suggestion_id)
    for suggestion_id in ("s-1", "s-2"):
        await agent.facts.advance(suggestion_id, SuggestionState.APPROVED)
        await agent.facts.advance(suggestion_id, SuggestionState.SUBMITTED)
    await agent.facts.advance("s-2", SuggestionState.RUNNING, run_uid="r-2")
    assert rooms.supervisor.undecided() == {"s-1": None, "s-2": "r-2"}


async def test_documents_are_needed_since_the_first_submission_however_long_a_run_has_taken_since(rooms):
    agent = await rooms.create("alice")
    assert rooms.supervisor.under_way_since() is None
    for suggestion_id in ("s-1", "s-2"):
        await propose(rooms, "alice", suggestion_id)
        await agent.facts.advance(suggestion_id, SuggestionState.APPROVED)
        await agent.facts.advance(suggestion_id, SuggestionState.SUBMITTED)
    first, second = (agent.record.suggestion(each).updated_at.timestamp() for each in ("s-1", "s-2"))
    await agent.facts.advance("s-1", SuggestionState.RUNNING, run_uid="r-1")
    await agent.facts.note_runs("s-1", ["r-1"])
    await agent.facts.advance("s-1", SuggestionState.MEASURED, outcome={"signal": 1.0})
    assert rooms.supervisor.under_way_since() == first - HEARD_BEFORE_S
    await agent.facts.advance("s-1", SuggestionState.FAILED)
    assert rooms.supervisor.under_way_since() == second - HEARD_BEFORE_S
    await agent.facts.advance("s-2", SuggestionState.APPROVED)
    assert (rooms.supervisor.under_way_since(), agent.record.submitted_at) == (None, {})


async def test_a_run_that_comes_late_is_taken_by_nobody_while_the_agent_rests(rooms):
    await rooms.create("alice", listen="all")
    await propose(rooms, "alice", "s-1")
    assert rooms.supervisor.taker_of_late_run("s-1") is None
    assert rooms.supervisor.taker_of_late_run("nobody's") is None
    assert rooms.supervisor.takers_of_every_run() == []
