"""What is replayed is what was called: points that were suggested together, and apart."""

import itertools

import pytest
from headless_service import service

from agent_service.agents.record.replay import facts_of
from agent_service.brains.messages import SuggestFact


def calls(agent, without=()):
    events = list(agent.keeper.told.read())
    for event, name in itertools.product(events, without):
        event.data.pop(name, None)
    return [len(fact.ids) for fact in facts_of(events) if isinstance(fact, SuggestFact)]


@pytest.fixture
async def agent(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        made = await rooms.create("walker", type="brainbox:OneAtATime")
        await rooms.supervisor.life("walker").start(paused=True)
        yield made


async def test_calls_one_after_the_other_are_replayed_one_by_one(agent):
    *_, last = [(await agent.suggest(1, by="person"))[0] for _ in range(3)]
    assert calls(agent) == [1, 1, 1]
    await agent.keeper.build()
    await agent.ingest([{**last.point, "signal": 1.0, "_id": last.id}])
    assert (await agent.report()).report["ids"] == [2]  # by the brain's own number of it


async def test_an_older_journal_does_not_say_so_and_neighbours_are_taken_together(agent):
    for _ in range(3):
        await agent.suggest(1, by="person")
    assert calls(agent, without=["batch"]) == [3]
