"""What is in memory of an agent does not grow with what was decided; it is read from the journal when asked for."""

import gc
import itertools
import json
import uuid

import pytest
from headless_service import SPEC, service

from agent_service.agents.point_table import PointTable
from agent_service.agents.record import (
    agent as agent_module,
    measured as measured_module,
    service as service_module,
    told as told_module,
)
from agent_service.agents.record.service import ServiceRecord
from agent_service.agents.suggestion_list import SuggestionList
from agent_service.errors import IllegalTransition, NotFound
from agent_service.models import AgentSpec, Event, EventKind, utcnow
from agent_service.models.state_machines import SuggestionState as State

KEPT = 50


@pytest.fixture(autouse=True)
def little_memory(monkeypatch):
    monkeypatch.setattr(service_module, "DECIDED_KEPT", KEPT)
    monkeypatch.setattr(measured_module, "MEASURED_KEPT", KEPT)
    monkeypatch.setattr(agent_module, "HANDED_OVER_KEPT", KEPT)
    for module in (agent_module, told_module):
        monkeypatch.setattr(module, "RUNS_KEPT", KEPT)


def points(fate):
    """Yield, for ever, facts of points that all end in one fate."""
    for number in itertools.count():
        own, run, x = str(uuid.uuid4()), str(uuid.uuid4()), float(number)
        of_state = {"id": own}
        proposed = {"state": "proposed", "point": {"x": x, "y": 1.0}, "by": "loop", "batch": own}
        yield EventKind.SUGGESTION_STATE, of_state | proposed
        if fate == "rejected":
            yield EventKind.SUGGESTION_STATE, of_state | {"state": "rejected", "reason": "no"}
            continue
        yield EventKind.SUGGESTION_STATE, of_state | {"state": "approved", "word": True, "by": "alice"}
        yield EventKind.QUEUE_STATE, {"command": "claim", "suggestion": own, "by": "alice"}
        yield EventKind.SUGGESTION_STATE, of_state | {"state": "submitted"}
        yield EventKind.SUGGESTION_STATE, of_state | {"state": "running", "run_uid": run}
        if fate == "failed":
            yield EventKind.SUGGESTION_STATE, of_state | {"state": "failed", "reason": "no beam", "run_time_s": 1.0}
            continue
        outcome = {"signal": -x}
        yield EventKind.SUGGESTION_STATE, of_state | {"state": "measured", "outcome": outcome, "run_time_s": 1.0}
        told = {"x": x, "y": 1.0, **outcome, "_id": own}
        best = [{"id": own, "point": {"x": x, "y": 1.0}, "outcome": outcome}]
        yield EventKind.INGEST, {"points": [told], "run_uids": [run], "best": best}
        yield EventKind.SUGGESTION_STATE, of_state | {"state": "ingested"}
        yield EventKind.REPORT, {"report": {"n": number}}


def reachable(root):
    """Count the objects that are kept by one, those of classes and modules left out."""
    seen, left = set(), [root]
    while left:
        one = left.pop()
        if id(one) not in seen and not isinstance(one, type) and type(one).__name__ not in ("function", "module"):
            seen.add(id(one))
            left += gc.get_referents(one)
    return len(seen)


@pytest.mark.parametrize("fate", ["ingested", "failed", "rejected"])
@pytest.mark.parametrize(
    "goals", [{}, {"objectives": {"signal": {"direction": "maximize"}}}], ids=["extremes", "goals"]
)
def test_it_does_not_grow_with_what_is_decided(fate, goals):
    record = ServiceRecord()
    forgotten = []
    record.on_forget = forgotten.append
    spec = AgentSpec(**{**SPEC, "name": "a", **goals}).model_dump(mode="json")
    facts = itertools.chain([(EventKind.AGENT_STATE, {"state": "created", "spec": spec})], points(fate))
    counted = []
    for seq, (kind, data) in enumerate(facts, start=1):
        record.apply(Event(seq=seq, time=utcnow(), agent="a", kind=kind, data=data))
        decided = record.agents["a"].counts()
        if kind is not EventKind.AGENT_STATE and not record.agents["a"].open and data.get("state") == fate:
            number = decided.suggested
            if number in (500, 2500):
                counted.append(reachable(record.agents["a"]))
            if number == 2500:
                break
    assert abs(counted[1] - counted[0]) < KEPT, counted
    assert len(forgotten) >= 2500 - KEPT - 2
    again = ServiceRecord.from_json(json.loads(json.dumps(record.as_json())))
    assert again == record
    assert len(again.decided) == KEPT + len(record.agents["a"].best_kept)
    best = {point.id for point in (*record.agents["a"].best, *record.agents["a"].best_measured.front)}
    assert record.agents["a"].best_kept <= best <= record.agents["a"].suggestions.keys()


async def filled(rooms, number=3 * KEPT, fate="ingested", **spec):
    """Create an agent whose facts are in the journal."""
    agent = await rooms.create("walker", **spec)
    for kind, data in itertools.islice(points(fate), 9 * number):
        posted = rooms.journal.post(kind, "walker", data)
    await posted
    return agent


async def test_an_old_suggestion_is_found_where_it_is_asked_for(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await filled(rooms)
        supervisor = rooms.supervisor
        facts = rooms.journal.read(kinds=[EventKind.SUGGESTION_STATE])
        first = str(facts[0].data["id"])
        assert supervisor.find_owner(first) is None
        assert len(supervisor._owners) <= KEPT + 2
        found = await agent.keeper.told.find_suggestion(first)
        assert (found.state, found.approved_by, found.outcome) == (State.INGESTED, "alice", {"signal": 0.0})
        with pytest.raises(IllegalTransition, match="its fate is final"):  # and not that there is none
            await supervisor.decisions.approve(first, None)
        assert agent.record.suggestion(first) == found
        listed = SuggestionList(rooms.journal, [agent.record])
        items, after = await listed.page(after=0, limit=7)
        assert [one.point["x"] for one in items] == list(range(7))
        assert items[0] == found
        items, after = await listed.page(after=after, limit=1000)
        assert ([one.point["x"] for one in items], after) == (list(range(7, 3 * KEPT)), None)
        items, _ = await listed.page(after=0, limit=9, state=State.REJECTED)
        assert items == []
        rows = [row for _, row in PointTable(agent.record, rooms.journal).rows()]
        assert [(row["x"], row["signal"], row["by"], row["approved_by"]) for row in rows] == [
            (float(n), -float(n), "loop", "alice") for n in range(3 * KEPT)
        ]
        assert await agent.keeper.told.has_ingested(rows[0]["run_uid"])
        assert not await agent.keeper.told.has_ingested("another")
        await supervisor.delete("walker")
        await rooms.create("walker")
        for name in (first, str(facts[-1].data["id"])):  # they are of another agent of that name
            await supervisor.recall(name)
            with pytest.raises(NotFound):
                supervisor.owner(name)
        listed = SuggestionList(rooms.journal, [supervisor.agent("walker").record])
        assert await listed.page(after=0, limit=9) == ([], None)


async def test_the_best_is_found_anew_in_the_journal_when_the_goals_change(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await filled(rooms, objectives={"signal": {"direction": "maximize"}})
        assert agent.record.best_measured.point.point["x"] == 0.0
        await agent.facts.configured(goals={"objectives": {"signal": {"direction": "minimize"}}})
        assert agent.record.measured.is_old
    async with service(tmp_path / "journal.db") as rooms:
        record = rooms.supervisor.agent("walker").record
        assert record.best_measured.point.point["x"] == 3 * KEPT - 1
        again = ServiceRecord.from_json(json.loads(json.dumps(rooms.supervisor.record.as_json())))
        assert again.agents["walker"].best_measured == record.best_measured
        assert again.agents["walker"].measured.newest == record.measured.newest
        record.apply(Event(seq=9999, time=utcnow(), agent="walker", kind=EventKind.INGEST, data=lower("walker")))
        assert record.best_measured.point.outcome == {"signal": -1e6}


def lower(name):
    return {"points": [{"x": 0.5, "y": 1.0, "signal": -1e6}], "run_uids": [f"last of {name}"], "best": []}


async def test_only_a_point_near_one_of_the_newest_needs_nobody(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await filled(rooms, loop={"approval_distance": {"x": 0.6}})
        needed = agent.guardrails.approvals.needed
        assert needed({"x": 3 * KEPT - 1.5, "y": 0.0}) == ""
        assert needed({"x": 3 * KEPT + 1.0, "y": 0.0}) == "nothing was measured within 0.6 in x of it"
        assert needed({"x": 1.0, "y": 0.0})  # so far back that a person is asked
