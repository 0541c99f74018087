"""Both clients against a real service: every method once, and the errors that come back as the service's own."""

import asyncio

import numpy as np
import pytest

from agent_service import errors
from agent_service.client import AsyncClient, Client
from agent_service.models import AgentSpec, EventKind, QueueState
from agent_service.models.state_machines import AgentState, SuggestionState

SPEC = {
    "type": "brainbox:Walker",
    "actuators": ["x", "y"],
    "sensors": ["signal"],
    "outcome": "signal",
}


@pytest.fixture
def client(served):
    with Client(served.url, api_key=served.server.api_key) as one:
        yield one


def test_the_service_and_its_types(client):
    assert client.health() == "ok"
    assert client.ready().parts["service"].ready
    assert client.service().queue.state is QueueState.IDLE
    assert "sobol" in {one.name for one in client.agent_types()}
    assert {"x", "y"} <= {one.name for one in client.all_devices().items if one.moves}


def test_an_agents_life(client):
    created = client.create(AgentSpec(name="life", loop={"approval": "required"}, **SPEC))
    assert created.state is AgentState.CREATED
    assert client.start("life").state is AgentState.RUNNING
    assert client.pause("life").state is AgentState.PAUSED
    assert [one.name for one in client.agents(state="paused")] == ["life"]
    assert client.resume("life").state is AgentState.RUNNING
    assert client.restart("life").state is AgentState.RUNNING
    assert client.update("life", loop={"max_runs": 7}).progress.total == 7
    assert client.stop("life").state is AgentState.STOPPED
    assert client.agent("life").counts.failed == 0
    kinds = {one.kind for one in client.history("life")}
    assert {EventKind.AGENT_STATE, EventKind.CONFIG} <= kinds
    assert len(client.history("life", limit=2)) == 2
    newest = [one.seq for one in client.history("life", newest_first=True)]
    assert newest == sorted((one.seq for one in client.history("life")), reverse=True)
    assert client.delete("life") is None
    with pytest.raises(errors.NotFound, match="life"):
        client.agent("life")


def test_a_brain_by_hand(client):
    client.create({"name": "hand", **SPEC}, loop={"approval": "required"})
    client.start("hand")
    first, second = client.suggest("hand", 2)
    assert first.state is SuggestionState.PROPOSED
    assert client.suggestion(first.id) == first
    assert client.reject(second.id, "too hot").reason == "rejected by a person: too hot"
    point = {"x": np.float32(1.0), "y": np.float64(2.0), "signal": np.float64(0.5), "_id": first.id}
    assert client.ingest("hand", [point]) == 1
    assert client.suggestion(first.id).state is SuggestionState.INGESTED
    assert first.id in {one.id for one in client.suggestions("hand", state="ingested")}
    (best,) = client.best("hand")
    assert (best.id, best.outcome) == (first.id, {"signal": 0.5})
    assert client.report("hand").report["n"] == 1
    assert len(client.reports("hand")) == 1
    assert {one.name for one in client.variables("hand")} == {"gain", "seen"}
    assert client.set_variable("hand", "gain", np.float64(2.5)).value == 2.5
    assert client.variable("hand", "gain").value == 2.5
    client.pause("hand")
    assert client.go_to_best("hand").point == best.point


def test_approval_with_an_edited_point_is_measured(client):
    client.create(name="edit", loop={"approval": "required", "max_runs": 1}, **SPEC)
    events = client.events("edit", last_event_id=0)
    client.start("edit")
    (suggestion,) = client.suggest("edit")
    assert suggestion.id in {one.id for one in client.suggestions(state="proposed")}
    client.approve(suggestion.id, {"x": 1.0, "y": -0.5})
    for event in events:
        if event.kind is EventKind.AGENT_STATE and event.data["state"] == "stopped":
            break
    events.close()
    measured = client.suggestion(suggestion.id)
    assert (measured.state, measured.point) == (SuggestionState.INGESTED, {"x": 1.0, "y": -0.5})
    assert measured.outcome == {"signal": 1.0}


def test_waiting_for_an_agent(client):
    client.create(name="wait", loop={"max_runs": 2}, **SPEC)
    with pytest.raises(errors.DeadlineExceeded, match="'wait' is created and was not failed or stopped within 0 s"):
        client.wait("wait", within_s=0)
    assert client.wait("wait", "created", "running").state is AgentState.CREATED
    client.start("wait")
    assert client.wait("wait", within_s=30).progress.done == 2
    with pytest.raises(errors.InvalidInput, match="the states are created, "):
        client.wait("wait", "finished")
    with pytest.raises(errors.NotFound):
        client.wait("nobody")


def test_the_queue_latches(client):
    assert client.pause_queue().state is QueueState.PAUSED
    assert client.resume_queue().state is QueueState.IDLE
    held = client.abort_queue("something smells")
    assert held.state is QueueState.HELD
    assert "something smells" in held.reason
    assert client.resume_queue().state is QueueState.IDLE
    assert client.queue().state is QueueState.IDLE


def test_documents_are_taken(client):
    start = {"uid": "8d1f3c0e-0000-4000-8000-000000000001", "time": np.float64(1.0)}
    stop = {"uid": "u2", "run_start": start["uid"], "time": 2.0, "exit_status": "success", "num_events": {}}
    assert client.post_documents([("start", start), ("stop", stop)]) == 2


def test_errors_come_back_as_what_they_are(client, served):
    with pytest.raises(errors.InvalidInput) as wrong:
        client.create(name="e", type="sobol")
    assert wrong.value.errors
    with pytest.raises(errors.UnknownType):
        client.create(name="e", **{**SPEC, "type": "brainboks:Walker"})
    client.create(name="errors", **{**SPEC, "type": "brainbox:Faulty", "config": {"where": "ingest"}})
    with pytest.raises(errors.AlreadyExists):
        client.create(name="errors", **SPEC)
    with pytest.raises(errors.IllegalTransition) as illegal:
        client.pause("errors")
    assert "start" in illegal.value.legal
    client.update("errors", loop={"approval": "required"})
    client.start("errors")
    with pytest.raises(errors.InvalidInput):
        client.ingest("errors", [{"x": float("nan"), "y": 0, "signal": 1}])
    with pytest.raises(errors.AgentFault, match="singular matrix") as fault:
        client.ingest("errors", [{"x": 0, "y": 0, "signal": 1}])
    assert "Traceback" in fault.value.traceback
    with Client(served.url, api_key="wrong") as stranger, pytest.raises(errors.Unauthenticated):
        stranger.agents()
    with Client(served.url, api_key="wrong") as stranger, pytest.raises(errors.Unauthenticated):
        next(stranger.events())


def test_a_client_that_was_closed_says_so(served):
    gone = Client(served.url, api_key=served.server.api_key)
    gone.close()
    with pytest.raises(errors.UsageError, match="this client is closed"):
        gone.agents()


def test_the_client_of_a_state_directory_finds_the_service(start, tmp_path):
    served = start(tmp_path / "state")
    with Client.from_state(tmp_path / "state") as client:
        assert client.url == served.url
        assert client.agents() == []


def test_events_go_on_across_a_restart_of_the_service(start, tmp_path):
    first = start(tmp_path / "state")
    port = int(first.url.rpartition(":")[2])
    with Client.from_state(tmp_path / "state") as client:
        events = client.events(last_event_id=0)
        client.create(name="before", **SPEC)
        seen = [next(events)]
        while seen[-1].agent != "before":
            seen.append(next(events))
        first.close()
        start(tmp_path / "state", service={"port": port})
        client.create(name="after", **SPEC)
        while seen[-1].agent != "after":
            seen.append(next(events))
        events.close()
    numbers = [one.seq for one in seen if one.seq is not None]
    assert numbers == list(range(1, numbers[-1] + 1))


async def test_the_asyncio_client_follows_and_steers(served):
    async with AsyncClient(served.url, api_key=served.server.api_key) as client:
        assert await client.health() == "ok"
        await client.create(name="async", loop={"max_runs": 2}, **SPEC)
        events = client.events("async", last_event_id=0)
        assert (await client.start("async")).name == "async"
        ingested = 0
        async for event in events:
            ingested += event.kind is EventKind.INGEST
            if event.kind is EventKind.AGENT_STATE and event.data["state"] == "stopped":
                break
        await events.aclose()
        assert ingested == 2
        assert (await client.wait("async")).state is AgentState.STOPPED
        status, best = await asyncio.gather(client.agent("async"), client.best("async"))
        assert status.progress.done == 2
        assert best[0] == status.best
        with pytest.raises(errors.NotFound):
            await client.agent("nobody")
