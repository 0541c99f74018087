"""Old facts go into a snapshot, and nobody can tell but by what was promised to be forgotten."""

import asyncio
import contextlib
import json
import sqlite3

import pytest
from headless_service import service

from agent_service.agents.record import service as record_module
from agent_service.agents.record.agent import REPORTS_KEPT
from agent_service.agents.record.replay import facts_of
from agent_service.agents.record.service import ServiceRecord
from agent_service.agents.suggestion_list import SuggestionList
from agent_service.archive.decisions import Fold, load_fold
from agent_service.errors import BackendUnavailable, NotFound, UsageError
from agent_service.journal import reader
from agent_service.models import EventKind
from agent_service.models.state_machines import SuggestionState as State
from agent_service.service.config import ServiceSection
from agent_service.service.retention import Retention
from agent_service.service.snapshot_process import fold, fold_elsewhere

FATES = [State.INGESTED, State.FAILED, State.REJECTED, State.ABANDONED, "edited", "retried", State.PROPOSED]


async def live(rooms, name="walker", rounds=4):
    """Let an agent meet every fate, some times."""
    agent = await rooms.create(name)
    await rooms.supervisor.life(name).start(paused=True)
    for number in range(rounds):
        for fate in FATES:
            await meet(agent, fate)
        await agent.suggest(3, by="person")  # points that belong together
        await agent.set_variable("gain", float(number))
        await agent.report()
    await rooms.journal.append(EventKind.QUEUE_STATE, None, {"command": "pause", "state": "paused", "reason": "tea"})
    return agent


async def meet(agent, fate):
    [one] = await agent.suggest(1, by="loop")
    if fate is State.PROPOSED:
        return
    if fate is State.REJECTED:
        await agent.fail_suggestion(one, State.REJECTED, "no", fault=False)
        return
    point = {**one.point, "x": 99.5} if fate == "edited" else one.point
    await agent.facts.advance(one.id, State.APPROVED, **({"point": point} if fate == "edited" else {}))
    await agent.facts.advance(one.id, State.SUBMITTED)
    if fate == "retried":
        await agent.facts.propose_again(agent.record.suggestion(one.id))
    await agent.facts.advance(one.id, State.RUNNING, run_uid=f"run-{one.id}")
    if fate in (State.ABANDONED, "retried"):
        await agent.facts.advance(one.id, State.ABANDONED, reason="interrupted")
    elif fate is State.FAILED:
        await agent.fail_suggestion(one, State.FAILED, "no beam", fault=True)
    else:
        await agent.facts.advance(one.id, State.MEASURED, outcome={"signal": point["x"]})
        await agent.ingest([{**point, "signal": point["x"], "_id": one.id}], run_uids=[f"run-{one.id}"])


def retention(rooms, *, keep_facts=20, keep_days=90.0, cursor=None):
    config = ServiceSection.model_construct(keep_facts=keep_facts, keep_days=keep_days)

    async def folded(seq, forget):
        return await asyncio.to_thread(fold, rooms.journal, seq, forget=forget)

    return Retention(rooms.journal, config, cursor=cursor, fold=folded)


def told(rooms):
    """What a person and the brain see of everything."""
    return {
        # without times that go on
        name: (
            life.agent.status().model_dump(exclude={"beam_idle", "think_s"}),
            facts_of(list(life.agent.keeper.told.read())),
            life.agent.record.best,
        )
        for name, life in rooms.supervisor.lives.items()
    }


async def listed(rooms, agent):
    """Return by id all suggestions of an agent that are shown, in small pages."""
    found, after = {}, 0
    while after is not None:
        shown = SuggestionList(rooms.journal, [agent.record])
        items, after = await shown.page(after=after, limit=3)
        assert not found.keys() & {one.id for one in items}
        found.update({one.id: one for one in items})
    return found


async def test_nothing_that_counts_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(record_module, "DECIDED_KEPT", 3)
    async with service(tmp_path / "journal.db") as rooms:
        agent = await live(rooms)
        await agent.keeper.build()  # by replay of everything
        said = (await agent.report()).report
        late = next(one for one in agent.record.suggestions.values() if one.state is State.ABANDONED)
        before, last = told(rooms), rooms.journal.last_seq
        known = await listed(rooms, agent)
        assert await retention(rooms).compact()
        assert told(rooms) == before
        left = [one.seq for one in rooms.journal.read()]
        assert rooms.journal.seqs.snapshot == last
        assert left[0] == rooms.journal.seqs.forgotten + 1
        assert left == list(range(left[0], last + 1))
        assert len(left) == 20
        gone = known.keys() - agent.record.suggestions.keys()
        assert gone
        seen = await listed(rooms, agent)
        assert seen.keys() >= agent.record.suggestions.keys()
        assert {known[one].state for one in seen} > {State.INGESTED, State.FAILED, State.REJECTED}
        assert all(seen[one] == known[one] for one in seen)
        best = {one.id for one in agent.record.best}
        assert best
        assert not best & gone  # how the best came to be can be looked up for ever
        assert {known[one].state for one in gone} <= {State.INGESTED, State.FAILED, State.REJECTED}
        for one in gone & seen.keys():  # decided, and in the journal still: it comes back when it is asked for
            await rooms.supervisor.recall(one)
            assert rooms.supervisor.owner(one).record.suggestion(one) == known[one]
        for one in gone - seen.keys():
            await rooms.supervisor.recall(one)
            with pytest.raises(NotFound):
                rooms.supervisor.owner(one)
        await agent.keeper.build()  # by replay of what is left
        assert (await agent.report()).report == said
        # a run that was abandoned may come late all the same
        await agent.ingest([{**late.point, "signal": 7.0, "_id": late.id}], run_uids=[f"run-{late.id}"])
        assert agent.record.suggestion(late.id).state is State.INGESTED
        await agent.set_variable("gain", 9.0)
        assert rooms.journal.last_seq == last + 4
        said, before = (await agent.report()).report, told(rooms)
    async with service(tmp_path / "journal.db") as rooms:
        agent = rooms.supervisor.agent("walker")
        after = told(rooms)
        assert rooms.supervisor.queue.status.reason == "paused by request"
        for found in (before, after):  # where it lives is not in the journal
            found["walker"][0].pop("executor_reason"), found["walker"][0].pop("executor")
        assert after == before
        await agent.keeper.build()
        assert (await agent.report()).report == said
        assert agent.brain.variables["gain"].value == 9.0


async def test_it_is_the_same_wherever_it_is_cut(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        await live(rooms, "one", rounds=1)
        await live(rooms, "two", rounds=1)
        await rooms.supervisor.life("two").stop()
        await rooms.supervisor.delete("two")
        facts = rooms.journal.read()
    whole = folded(ServiceRecord(), facts)
    for cut in range(1, len(facts)):
        part = folded(ServiceRecord(), facts[:cut])
        again = ServiceRecord.from_json(json.loads(json.dumps(part.as_json())))
        assert again == part
        later = folded(again, facts[cut:])
        assert later.agents["one"].counts() == whole.agents["one"].counts()
        assert later.agents["one"].best_measured == whole.agents["one"].best_measured
        assert later == whole
        assert later.agents["one"].counts() == whole.agents["one"].counts()
        assert (later.positions, later.queue) == (whole.positions, whole.queue)


def folded(record, facts):
    for event in facts:
        record.apply(event)
    return record


async def test_another_process_folds_the_same(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        await live(rooms, rounds=1)
        seq, url = rooms.journal.last_seq, f"sqlite:///{tmp_path}/journal.db"
        elsewhere, here = await fold_elsewhere(url, seq, forget=seq), fold(reader(url), seq, forget=seq)
        snapshots = [json.loads(folded) for folded in (elsewhere, here)]
        assert ServiceRecord.from_json(snapshots[0]) == ServiceRecord.from_json(snapshots[1])
        assert snapshots[0]["outbox"] == snapshots[1]["outbox"]
    (tmp_path / "journal.db").write_text("not a journal")
    with pytest.raises(BackendUnavailable, match=r"the process that makes a snapshot failed: .*not a database"):
        await fold_elsewhere(url, seq, forget=seq)


async def test_a_second_snapshot_stands_for_the_first_too(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        await live(rooms, rounds=2)
        assert await retention(rooms).compact()
        await live(rooms, "other", rounds=2)
        before = told(rooms)
        assert await retention(rooms, keep_facts=5).compact()
        assert not await retention(rooms, keep_facts=5).compact()
        assert told(rooms) == before
        assert len(rooms.journal.read()) <= 8


async def test_what_is_not_in_the_catalogue_yet_is_kept(tmp_path):
    cursor = tmp_path / "outbox.json"
    async with service(tmp_path / "journal.db") as rooms:
        await live(rooms)
        facts = rooms.journal.read()
        assert await retention(rooms, cursor=cursor).compact()  # nothing is, and memory forgets all the same
        assert rooms.journal.read() == facts
        assert rooms.journal.seqs.snapshot > 60
        assert load_fold(cursor, snapshot=rooms.journal.snapshot()) == Fold()
        fold = folded_decisions(facts[:60])
        cursor.write_text(fold.model_dump_json())
        assert await retention(rooms, cursor=cursor).compact()  # nothing is new but that
        assert (rooms.journal.seqs.forgotten, rooms.journal.read()) == (60, facts[60:])
        # a catalogue writer that lost its cursor begins where the facts begin
        assert load_fold(cursor, snapshot=rooms.journal.snapshot()) == fold
        cursor.unlink()
        assert load_fold(cursor, snapshot=rooms.journal.snapshot()) == fold
        assert load_fold(cursor) == Fold()
        assert not await retention(rooms, cursor=cursor).compact()
    async with service(tmp_path / "journal.db") as rooms:
        assert rooms.journal.seqs.forgotten == 60
        await live(rooms, "other")
        cursor.write_text(folded_decisions(facts).model_dump_json())
        assert await retention(rooms, cursor=cursor).compact()
        assert 60 < rooms.journal.seqs.forgotten <= facts[-1].seq < rooms.journal.seqs.snapshot
        seq = rooms.journal.seqs.forgotten
        assert load_fold(tmp_path / "none", snapshot=rooms.journal.snapshot()) == folded_decisions(facts[:seq])


def folded_decisions(facts):
    fold = Fold()
    for event in facts:
        fold.apply_fact(event)
    return fold


async def test_age_is_a_limit_too(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        await live(rooms)
        assert not await retention(rooms, keep_facts=10**6).compact()
        await asyncio.sleep(0.01)
        assert await retention(rooms, keep_facts=10, keep_days=1e-8).compact()
        assert rooms.journal.seqs.snapshot == rooms.journal.last_seq
        assert (await rooms.journal.append(EventKind.CONFIG, None, {})).seq == rooms.journal.seqs.snapshot + 1


async def test_a_follower_that_is_behind_a_snapshot_ends_instead_of_leaving_a_gap(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        await live(rooms, rounds=1)
        events = rooms.journal.follow(after=3)
        assert await retention(rooms).compact()
        assert [one async for one in events] == []


async def test_reports_are_kept_as_far_as_promised(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await rooms.create("walker")
        for n in range(REPORTS_KEPT + 50):
            rooms.journal.post(EventKind.REPORT, "walker", {"report": {"n": n}})
        await rooms.journal.append(EventKind.CONFIG, "walker", {})
        assert await retention(rooms, keep_facts=1).compact()
        assert [one.report["n"] for one in agent.record.reports] == list(range(50, REPORTS_KEPT + 50))


async def test_a_damaged_snapshot_is_told_in_a_line(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        await live(rooms)
        assert await retention(rooms).compact()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as file, file:
        file.execute("UPDATE snapshots SET data = substr(data, 1, 10)")
    with pytest.raises(BackendUnavailable, match="snapshot in the journal is damaged"):
        reader(f"sqlite:///{tmp_path}/journal.db").snapshot()


async def test_a_snapshot_of_a_newer_program_is_refused():
    with pytest.raises(UsageError, match="upgrade it"):
        ServiceRecord.from_json({**ServiceRecord().as_json(), "version": 99})


async def test_a_journal_of_version_2_has_its_snapshot_still(tmp_path):
    path = tmp_path / "journal.db"
    async with service(path) as rooms:
        agent = await live(rooms)
        await retention(rooms, keep_facts=0).compact()
        before, told = agent.status(), await replayed(agent)
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        as_version_2(file)
    async with service(path) as rooms:
        agent = rooms.supervisor.agent("walker")
        after = agent.status()
        assert (after.counts, after.best, after.progress) == (before.counts, before.best, before.progress)
        assert await replayed(agent) == told
        assert await agent.keeper.told.has_ingested(next(iter(agent.record.runs_of_old)))
        assert not await agent.keeper.told.has_ingested("another")
        await live(rooms, "other", rounds=2)
        await retention(rooms, keep_facts=0).compact()
        assert await replayed(agent) == told


async def replayed(agent):
    return await agent.keeper.told.replay(until=10**6)


def as_version_2(file):
    """Write a journal as the program did that kept in the snapshot what brains were told."""
    seq, text = file.execute("SELECT seq, data FROM snapshots").fetchone()
    snapshot = json.loads(text)
    assert snapshot["version"] == 2
    for name, agent in snapshot["agents"].items():
        facts = file.execute("SELECT seq, kind, time, data FROM told WHERE agent = ? ORDER BY seq", (name,))
        agent["facts"] = [[seq, kind, time, json.loads(data)] for seq, kind, time, data in facts]
        agent["ingested_runs"] = list(agent["ingested_runs"])
        for new in ("measured", "created_seq", "last_told", "runs_of_old", "fillers"):
            del agent[new]
    file.execute("UPDATE snapshots SET data = ?", (json.dumps({**snapshot, "version": 1}),))
    file.execute("DELETE FROM facts WHERE seq <= ?", (seq,))
    for statement in ("DROP TABLE told", "DROP INDEX facts_by_suggestion", "UPDATE meta SET value = '2'"):
        file.execute(statement)
