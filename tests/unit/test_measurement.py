"""From an approved suggestion to a plan that ended: what its end says of the suggestion, and of the agent."""

import asyncio

import pytest
from headless_service import service
from run_documents import documents

from agent_service.agents.ingestion import RunIngestion
from agent_service.agents.measurement import Measurement
from agent_service.agents.submission import Submission
from agent_service.documents.runs import Run
from agent_service.models import AgentPatch
from agent_service.models.state_machines import SuggestionState as State
from agent_service.protocols import SERVICE_STOPS, ExitStatus, PlanResult


@pytest.fixture
async def rooms(tmp_path):
    async with service(tmp_path / "journal.db") as headless:
        yield headless


async def measurement_of(rooms, **spec):
    agent = await rooms.create("walker", **spec)
    await agent.keeper.build()
    [suggestion] = await agent.suggest(1, by="loop")
    await agent.facts.advance(suggestion.id, State.APPROVED)
    ingestion = RunIngestion(agent, plans_end_here=True, archived=rooms.archived)
    dispatcher = rooms.supervisor.dispatcher
    measurement = Measurement(
        agent,
        sink=rooms.sink,
        dispatcher=dispatcher,
        ingestion=ingestion,
        ask_ahead=lambda: None,
    )
    return agent, suggestion, measurement


ENDS = {
    "failed": (PlanResult(ExitStatus.FAIL, "the shutter is closed"), State.FAILED, "the shutter is closed", 1),
    "aborted by a person": (PlanResult(ExitStatus.ABORT, "enough", asked=True), State.FAILED, "enough", 0),
    "expired": (PlanResult(ExitStatus.EXPIRED, "nobody claimed it"), State.EXPIRED, "nobody claimed it", 0),
    "forbidden at its turn": (PlanResult(ExitStatus.REJECTED, "too far"), State.REJECTED, "too far", 0),
}


@pytest.mark.parametrize("case", ENDS)
async def test_how_a_plan_ended_decides(rooms, case):
    result, fate, reason, failures = ENDS[case]
    agent, suggestion, measurement = await measurement_of(rooms)
    await agent.facts.advance(suggestion.id, State.SUBMITTED)
    expected = rooms.supervisor.dispatcher.expect(suggestion.id).__enter__()
    plan = asyncio.get_running_loop().create_future()
    plan.set_result(result)
    measurement.take_up([Submission(agent, suggestion, expected, rooms.sink, plan)])
    assert measurement.taken_up == {suggestion.id}
    assert await measurement.finish_submitted()
    kept = agent.record.suggestion(suggestion.id)
    assert (kept.state, kept.reason, agent.record.failures_in_row) == (fate, reason, failures)
    assert not await measurement.finish_submitted(), "there is one, and it has ended"


async def test_a_run_that_was_whole_when_its_claim_ran_out_counts(rooms):
    agent, suggestion, measurement = await measurement_of(rooms)
    await agent.facts.advance(suggestion.id, State.SUBMITTED)
    expected = rooms.supervisor.dispatcher.expect(suggestion.id).__enter__()
    run = Run(tuple(documents(values=(4.0,), field="signal", agent_suggestion_uid=suggestion.id)))
    expected.begin(run.start)
    expected.add(run)
    plan = asyncio.get_running_loop().create_future()
    plan.set_result(PlanResult(ExitStatus.EXPIRED, "nobody said that its plan has ended"))
    measurement.take_up([Submission(agent, suggestion, expected, rooms.sink, plan)])
    await measurement.finish_submitted()
    assert agent.record.suggestion(suggestion.id).state is State.EXPIRED
    await measurement._ingestion.ingest_next()
    assert agent.record.suggestion(suggestion.id).state is State.INGESTED
    assert agent.record.ingested_runs.keys() == {run.uid}


@pytest.mark.parametrize("draining", [True, False])
async def test_what_did_not_begin_is_measured_after_the_next_start(rooms, draining):
    agent, suggestion, measurement = await measurement_of(rooms)
    await agent.facts.advance(suggestion.id, State.SUBMITTED)
    expected = rooms.supervisor.dispatcher.expect(suggestion.id).__enter__()
    plan = asyncio.get_running_loop().create_future()
    plan.set_result(PlanResult(ExitStatus.ABORT, "taken back", begun=False))
    measurement.draining = draining
    measurement.take_up([Submission(agent, suggestion, expected, rooms.sink, plan)])
    await measurement.finish_submitted()
    kept = agent.record.suggestion(suggestion.id)
    again = (State.APPROVED, SERVICE_STOPS)
    assert (kept.state, kept.reason) == (again if draining else (State.FAILED, "taken back"))


async def test_what_a_guardrail_forbids_by_now_is_rejected_and_not_submitted(rooms):
    agent, suggestion, measurement = await measurement_of(rooms)
    await rooms.supervisor.patch("walker", AgentPatch(guardrails={"bounds": {"x": (5, 9)}}))
    await measurement.measure(agent.record.suggestion(suggestion.id))
    kept = agent.record.suggestion(suggestion.id)
    assert kept.state is State.REJECTED
    assert kept.reason.startswith("guardrails.bounds.x")
    assert rooms.sink.status.pending == 0
