"""What runs become: an outcome that the brain is told, once, or a reason why it is not."""

import pytest
from headless_service import service
from run_documents import documents

from agent_service.agents.ingestion import RunIngestion
from agent_service.documents.choice import Made
from agent_service.documents.runs import Run
from agent_service.errors import InvalidInput
from agent_service.models.state_machines import SuggestionState as State


@pytest.fixture
async def rooms(tmp_path):
    async with service(tmp_path / "journal.db") as headless:
        yield headless


async def ingestion_of(rooms, *, plans_end_here=True, **spec):
    agent = await rooms.create("walker", **spec)
    await agent.keeper.build()
    return agent, RunIngestion(agent, plans_end_here=plans_end_here, archived=rooms.archived)


async def running(agent, uid="r1"):
    [suggestion] = await agent.suggest(1, by="loop")
    for state in (State.APPROVED, State.SUBMITTED):
        await agent.facts.advance(suggestion.id, state)
    await agent.facts.advance(suggestion.id, State.RUNNING, run_uid=uid)
    return suggestion


def a_run(uid="r1", exit_status="success", **start):
    made = documents(uid, (4.0,), "signal", **start)
    made[2][1]["data"] |= {"x": 1.0, "y": 2.0}
    made[-1][1]["exit_status"] = exit_status
    return Run.from_documents(made)


async def test_a_run_is_ingested_once(rooms):
    agent, ingestion = await ingestion_of(rooms)
    for _ in range(2):
        await ingestion.ingest_past_run(a_run())
    assert agent.record.ingests == 1
    assert agent.record.best[0].point == {"x": 1.0, "y": 2.0}
    ingestion.put(a_run())
    ingestion.put(a_run("r2"))
    assert [run.uid for run in ingestion.inbox] == ["r2"]


@pytest.mark.parametrize("exit_status", ["fail", "abort"])
async def test_a_past_run_that_failed_says_nothing(rooms, exit_status):
    agent, ingestion = await ingestion_of(rooms)
    await ingestion.ingest_past_run(a_run(exit_status=exit_status))
    assert agent.record.ingests == 0


async def test_a_late_run_that_may_not_be_the_one_that_counts_is_refused_unless_it_is_named(rooms):
    agent, ingestion = await ingestion_of(rooms, run="last")
    suggestion = await running(agent)
    await agent.facts.advance(suggestion.id, State.ABANDONED, reason="nobody waits for it")
    late = a_run(agent_suggestion_uid=suggestion.id)
    with pytest.raises(InvalidInput, match="it came late"):
        await ingestion.ingest_past_run(late, named=False)
    await ingestion.ingest_past_run(late)
    assert agent.record.suggestion(suggestion.id).state is State.INGESTED


@pytest.mark.parametrize(("plans_end_here", "failures"), [(True, 1), (False, 0)])
async def test_whose_abort_it_was_decides_whether_it_counts(rooms, plans_end_here, failures):
    agent, ingestion = await ingestion_of(rooms, plans_end_here=plans_end_here)
    suggestion = await running(agent)
    assert not await ingestion.chosen(suggestion, Made((a_run(exit_status="abort"),)))
    assert agent.record.suggestion(suggestion.id).state is State.FAILED
    assert agent.record.failures_in_row == failures


async def test_an_outcome_that_cannot_be_found_fails_the_suggestion_and_not_the_loop(rooms):
    agent, ingestion = await ingestion_of(rooms, outcome="nothing_measured")
    suggestion = await running(agent)
    ingestion.begin(suggestion, [a_run()])
    assert ingestion.pending
    await ingestion.settle()
    kept = agent.record.suggestion(suggestion.id)
    assert kept.state is State.FAILED
    assert "nothing_measured" in kept.reason
