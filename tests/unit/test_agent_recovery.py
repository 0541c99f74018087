"""What becomes of suggestions that were under way when the service ended."""

import asyncio
import contextlib
from functools import partial

import pytest
from forgetful_peers import ForgetfulManager, blueapi, queue_server
from headless_service import claimed, service

from agent_service.agents import recovery
from agent_service.documents.choice import Made
from agent_service.documents.runs import Run
from agent_service.documents.spool_repair import INTERRUPTED
from agent_service.models.state_machines import SuggestionState as State
from agent_service.plans.sinks import unknown_fate
from agent_service.protocols import SERVICE_STOPS, ExitStatus, PlanResult


@pytest.fixture
async def rooms(tmp_path):
    async with service(tmp_path / "journal.db") as one:
        yield one


def a_run(suggestion_id, exit_status, reason="", uid="r"):
    start = {"uid": uid, "time": 1.0, "agent_suggestion_uid": suggestion_id}
    stop = {"uid": "s", "run_start": uid, "exit_status": exit_status, "reason": reason}
    return Run((("start", start), ("stop", stop)))


async def submitted(agent, *, run_uid=None, by="loop"):
    [one] = await agent.suggest(1, by=by)
    await agent.facts.advance(one.id, State.APPROVED)
    await agent.facts.advance(one.id, State.SUBMITTED)
    if run_uid:
        await agent.facts.advance(one.id, State.RUNNING, run_uid=run_uid)
    return one


def states(agent):
    return [(one.state, one.retry_of) for one in agent.record.suggestions.values()]


VERDICTS = {
    "complete": ("success", "", State.RUNNING, False),
    "killed": ("abort", INTERRUPTED, State.ABANDONED, True),
    "stopped": ("abort", SERVICE_STOPS, State.ABANDONED, True),
    "aborted": ("abort", "by a person", State.FAILED, False),
    "raised": ("fail", "the shutter is closed", State.FAILED, False),
}


@pytest.mark.parametrize("known", [True, False], ids=["running", "submitted"])
@pytest.mark.parametrize("case", VERDICTS)
async def test_the_run_that_was_kept_decides(rooms, case, known):
    status, reason, state, again = VERDICTS[case]
    agent = await rooms.create("walker")
    await agent.keeper.build()
    one = await submitted(agent, run_uid="r" if known else None)
    run = a_run(one.id, status, reason)
    await recovery.reconcile(agent, {one.id: [run]}, retry=True)
    assert states(agent) == [(state, None)] + [(State.PROPOSED, one.id)] * again
    assert agent.record.suggestion(one.id).run_uid == "r"
    assert agent.unevaluated == ({one.id: Made((run,), ended=False)} if status == "success" else {})
    assert agent.record.failures_in_row == (status == "fail")


@pytest.mark.parametrize("case", VERDICTS)
async def test_without_it_the_catalogue_is_asked(rooms, case):
    status, reason, state, again = VERDICTS[case]
    agent = await rooms.create("walker")
    await agent.keeper.build()
    one = await submitted(agent, run_uid="r")
    rooms.runs["r"] = a_run(one.id, status, reason)
    await recovery.look_up(agent, rooms.documents, retry=True)
    assert states(agent) == [(state, None)] + [(State.PROPOSED, one.id)] * again
    assert list(agent.unevaluated) == ([one.id] if status == "success" else [])


async def test_what_nobody_has_is_abandoned_and_comes_back(rooms):
    agent = await rooms.create("walker")
    await agent.keeper.build()
    one = await submitted(agent, run_uid="r")
    await recovery.look_up(agent, rooms.documents, retry=True)
    assert states(agent) == [(State.ABANDONED, None), (State.PROPOSED, one.id)]
    assert "there is no run r" in agent.record.suggestion(one.id).reason


async def test_what_a_person_asked_for_does_not_come_back(rooms):
    agent = await rooms.create("walker")
    await agent.keeper.build()
    await submitted(agent, by="person")
    await recovery.reconcile(agent, {}, retry=True)
    assert states(agent) == [(State.ABANDONED, None)]


async def test_a_point_does_not_come_back_for_ever(rooms):
    agent = await rooms.create("walker")
    await agent.keeper.build()
    await submitted(agent)
    lives = 0
    while open_ones := agent.record.open_in(State.SUBMITTED):
        await recovery.reconcile(agent, {}, retry=True)
        for again in agent.record.open_in(State.PROPOSED):
            assert again.point == open_ones[0].point
            await agent.facts.advance(again.id, State.APPROVED)
            await agent.facts.advance(again.id, State.SUBMITTED)
        lives += 1
    assert lives == recovery.MAX_RETRIES + 1
    assert {one.state for one in agent.record.suggestions.values()} == {State.ABANDONED}


async def test_a_crash_between_the_retry_and_the_end_of_the_first_gives_no_second_retry(rooms):
    agent = await rooms.create("walker")
    await agent.keeper.build()
    one = await submitted(agent)
    await agent.facts.propose_again(agent.record.suggestion(one.id))
    await recovery.reconcile(agent, {}, retry=True)
    assert states(agent) == [(State.ABANDONED, None), (State.PROPOSED, one.id)]


@pytest.mark.parametrize("brain", ["brainbox:Walker", "sobol"])
async def test_for_the_brain_it_is_the_suggestion_it_made(rooms, brain):
    config = {"bounds": {"x": [0, 1], "y": [0, 1]}, "objective": "signal"} if brain == "sobol" else {}
    agent = await rooms.create("walker", type=brain, config=config)
    await agent.keeper.build()
    one = await submitted(agent)
    await recovery.reconcile(agent, {}, retry=True)
    await agent.keeper.build()  # by replay
    [again] = agent.record.open_in(State.PROPOSED)
    await agent.ingest([{**again.point, "signal": 3.0, "_id": again.id}])
    [following] = await agent.suggest(1, by="loop")
    assert following.point != one.point
    said = (await agent.report()).report
    if brain == "sobol":
        assert (said["n_measured"], said["n_pending"], said["n_not_measured"]) == (1, 1, 0)
    else:
        assert said == {"n": 1, "ids": [0], "failed": 0}
    assert agent.record.best[0].id == again.id


CUT = {
    "last, between the runs": ("last", ["dark"], False, State.ABANDONED),
    "last, after the plan": ("last", ["dark", "light"], True, State.INGESTED),
    "metadata, between the runs": ({"purpose": "light"}, ["dark"], False, State.ABANDONED),
    "metadata, before the plan's end": ({"purpose": "light"}, ["dark", "light"], False, State.INGESTED),
    "nothing said": (None, ["dark", "light"], False, State.FAILED),
    "first": ("first", ["dark", "light"], False, State.INGESTED),
}


BY = [("spool", case) for case in CUT]
BY += [("catalogue", case) for case, (_, uids, ended, _) in CUT.items() if ended or len(uids) == 1]  # by what is known


@pytest.mark.parametrize(("where", "case"), BY)
async def test_several_runs_and_a_crash(rooms, case, where):
    rule, uids, ended, state = CUT[case]
    agent = await rooms.create("walker", run=rule, evaluate="brainbox:counted", outcome=None)
    await rooms.supervisor.life("walker").start(paused=True)
    one = await submitted(agent, run_uid="dark")
    runs = []
    for uid in uids:
        name, start = a_run(one.id, "success", uid=uid).documents[0]
        runs.append(Run(((name, {**start, "purpose": uid}), *a_run(one.id, "success", uid=uid).documents[1:])))
    if ended:
        await agent.facts.note_runs(one.id, uids)
    rooms.runs.update({run.uid: run for run in runs})
    await rooms.supervisor.life("walker").stop()
    if where == "spool":
        await recovery.reconcile(agent, {one.id: runs}, retry=True)
    await rooms.supervisor.life("walker").start()
    while agent.record.suggestion(one.id).state in (State.RUNNING, State.MEASURED):
        await agent.changed()
    assert agent.record.suggestion(one.id).state is state
    if state is State.INGESTED:
        assert agent.record.suggestion(one.id).run_uid == ("dark" if rule == "first" else "light")


class Elsewhere:
    """A queue that goes on while the service is down: what it has still, by suggestion, and what it was asked for."""

    def __init__(self, monkeypatch, sink, has):
        loop = asyncio.get_running_loop()
        self.plans = {suggestion_id: loop.create_future() for suggestion_id in has}
        self.asked = []
        monkeypatch.setattr(sink, "reattach", self.reattach)

    async def reattach(self, orders):
        self.asked += orders
        return self.plans


@contextlib.asynccontextmanager
async def ended_with(path, *, run_uid=None, sink_of=claimed):
    """A service that ended when the plan of a suggestion was in the sink, and came back; its facts are folded."""
    async with service(path) as before:
        await before.create("walker")
        await before.supervisor.life("walker").start(paused=True)
        one = await submitted(before.supervisor.agent("walker"), run_uid=run_uid)
    async with service(path, sink_of) as rooms:
        yield rooms, rooms.supervisor.agent("walker"), one


async def until(agent, condition):
    async with asyncio.timeout(20):
        while not condition():
            await agent.changed()


def measured(point, suggestion_id, uid="r"):
    return [
        ("start", {"uid": uid, "time": 1.0, "agent_suggestion_uid": suggestion_id}),
        ("descriptor", {"uid": "d", "run_start": uid, "name": "primary", "data_keys": {}}),
        ("event", {"uid": "e", "descriptor": "d", "seq_num": 1, "data": {"signal": 1.0, **point}}),
        ("stop", {"uid": "s", "run_start": uid, "exit_status": "success"}),
    ]


@pytest.mark.parametrize("heard", ["after the restart", "before it"])
async def test_a_plan_that_the_sink_has_still_is_awaited_and_not_repeated(tmp_path, monkeypatch, heard):
    async with ended_with(tmp_path / "journal.db") as (rooms, agent, one):
        sink = Elsewhere(monkeypatch, rooms.sink, [one.id])
        documents = measured(one.point, one.id)
        kept = {one.id: [Run.from_documents(documents)]} if heard == "before it" else {}
        await rooms.supervisor.recover(kept)
        assert [(order.suggestion_id, order.point) for order in sink.asked] == [(one.id, one.point)]
        await until(agent, lambda: agent.record.state == "paused")
        assert states(agent) == [(State.SUBMITTED, None)]
        for name, document in [] if kept else documents:
            rooms.supervisor.dispatcher.on_document(name, document, "r")
        sink.plans[one.id].set_result(PlanResult(ExitStatus.SUCCESS, run_uids=("r",)))
        await until(agent, lambda: agent.record.suggestion(one.id).state is State.INGESTED)
        assert states(agent) == [(State.INGESTED, None)]
        assert rooms.sink.status.pending == 0, "it was handed over once"


async def test_a_run_that_goes_on_elsewhere_is_seen_to_its_end(tmp_path, monkeypatch):
    async with ended_with(tmp_path / "journal.db") as (rooms, agent, one):
        sink = Elsewhere(monkeypatch, rooms.sink, [one.id])
        documents = measured(one.point, one.id)
        await rooms.supervisor.recover({one.id: [Run(tuple(documents[:2]))]})
        await until(agent, lambda: agent.record.suggestion(one.id).run_uid == "r")
        rooms.supervisor.dispatcher.on_document(*documents[0], "r")  # from the spool
        for name, document in documents[1:]:
            rooms.supervisor.dispatcher.on_document(name, document, "r")
        sink.plans[one.id].set_result(PlanResult(ExitStatus.SUCCESS, run_uids=("r",)))
        await until(agent, lambda: agent.record.suggestion(one.id).state is State.INGESTED)


async def test_an_open_run_of_a_plan_that_the_sink_has_no_more_is_abandoned(tmp_path, monkeypatch):
    async with ended_with(tmp_path / "journal.db") as (rooms, agent, one):
        Elsewhere(monkeypatch, rooms.sink, [])
        await rooms.supervisor.recover({one.id: [Run(tuple(measured(one.point, one.id)[:2]))]})
        assert states(agent)[0] == (State.ABANDONED, None)


async def test_a_plan_that_failed_while_the_service_was_down_is_a_failure(tmp_path, monkeypatch):
    async with ended_with(tmp_path / "journal.db") as (rooms, agent, one):
        sink = Elsewhere(monkeypatch, rooms.sink, [one.id])
        sink.plans[one.id].set_result(PlanResult(ExitStatus.FAIL, "the shutter is closed"))
        await rooms.supervisor.recover({})
        await until(agent, lambda: agent.record.suggestion(one.id).state is State.FAILED)
        assert agent.record.suggestion(one.id).reason == "the shutter is closed"
        assert agent.record.failures_in_row == 1


async def test_a_running_plan_that_the_sink_has_still_is_not_looked_up(tmp_path, monkeypatch):
    async with ended_with(tmp_path / "journal.db", run_uid="r") as (rooms, agent, one):
        Elsewhere(monkeypatch, rooms.sink, [one.id])
        await rooms.supervisor.recover({one.id: [a_run(one.id, "abort", INTERRUPTED)]})
        await until(agent, lambda: agent.record.state == "paused")
        assert states(agent) == [(State.RUNNING, None)]


async def test_what_the_sink_has_no_more_is_abandoned_and_comes_back(tmp_path, monkeypatch):
    async with ended_with(tmp_path / "journal.db") as (rooms, agent, one):
        sink = Elsewhere(monkeypatch, rooms.sink, [])
        await rooms.supervisor.recover({})
        assert [order.suggestion_id for order in sink.asked] == [one.id]
        assert states(agent)[0] == (State.ABANDONED, None)
        assert [again.retry_of for again in agent.record.suggestions.values()] == [None, one.id]


@pytest.mark.parametrize("known", [None, "r"], ids=["submitted", "running"])
@pytest.mark.parametrize("peer", [queue_server, blueapi])
async def test_a_run_that_was_kept_counts_though_the_facility_forgot_it(tmp_path, monkeypatch, peer, known):
    monkeypatch.setattr(unknown_fate, "UNKNOWN_AFTER_S", 0.1)
    async with ended_with(tmp_path / "journal.db", sink_of=peer, run_uid=known) as (rooms, agent, one):
        await rooms.supervisor.recover({one.id: [Run.from_documents(measured(one.point, one.id))]})
        await until(agent, lambda: agent.record.suggestion(one.id).state not in (State.SUBMITTED, State.RUNNING))
        await until(agent, lambda: agent.record.suggestion(one.id).state is not State.MEASURED)
        assert states(agent) == [(State.INGESTED, None)]
        assert agent.record.ingests == 1
        await rooms.sink.stop(1)


def item(suggestion_id, item_uid, user="agent-service", **result):
    found = {"exit_status": "completed", "run_uids": ["r"], **result}
    return {"item_uid": item_uid, "user": user, "meta": {"agent_suggestion_uid": suggestion_id}, "result": found}


async def test_a_copy_of_its_item_is_not_the_plan_that_the_service_had_sent(tmp_path):
    manager = ForgetfulManager()
    sink_of = partial(queue_server, manager=manager)
    async with ended_with(tmp_path / "journal.db", sink_of=sink_of) as (rooms, agent, one):
        manager.history = [item(one.id, "ours"), item(one.id, "copy", "a person", run_uids=["copied"])]
        manager.running = item(one.id, "copy again", "a person")
        documents = measured(one.point, one.id)
        await rooms.supervisor.recover({})
        await rooms.sink.abort("smoke")
        for name, document in [*documents, *measured(one.point, one.id, "copied")[:1]]:
            rooms.supervisor.dispatcher.on_document(name, document, document["uid"] if name == "start" else "r")
        await until(agent, lambda: agent.record.suggestion(one.id).state not in (State.SUBMITTED, State.RUNNING))
        await until(agent, lambda: agent.record.suggestion(one.id).state is not State.MEASURED)
        assert [(one.state, one.run_uid) for one in agent.record.suggestions.values()] == [(State.INGESTED, "r")]
        assert not {"re_pause", "re_abort"} & {method for method, _ in manager.asked}
        await rooms.sink.stop(1)


@pytest.mark.parametrize("fate", [State.EXPIRED, State.ABANDONED])
async def test_a_run_that_came_late_counts_once_though_the_service_was_killed_before_it_did(tmp_path, fate):
    async with service(tmp_path / "journal.db") as before:
        await before.create("walker")
        await before.supervisor.life("walker").start(paused=True)
        one = await submitted(before.supervisor.agent("walker"))
        await before.supervisor.agent("walker").facts.advance(one.id, fate)
    kept = {one.id: [Run.from_documents(measured(one.point, one.id))]}
    for restarts in range(2):
        async with service(tmp_path / "journal.db") as rooms:
            agent = rooms.supervisor.agent("walker")
            assert rooms.supervisor.late_takers() == (set() if restarts else {one.id})
            await rooms.supervisor.recover(kept)
            await until(agent, lambda agent=agent: agent.record.state == "paused")
            assert rooms.supervisor.untold() == (set() if restarts else {one.id})
            await rooms.supervisor.life("walker").resume()
            await until(agent, lambda agent=agent: agent.record.ingested_runs.keys() == {"r"})
            await rooms.supervisor.life("walker").pause()
            assert agent.record.ingests == 1
            assert rooms.supervisor.untold() == set()


@pytest.mark.parametrize("killed", [True, False], ids=["heard before a kill", "heard"])
@pytest.mark.parametrize("fate", [State.EXPIRED, State.ABANDONED])
async def test_a_late_run_of_an_agent_that_has_stopped_is_measured_and_told_at_its_next_start(tmp_path, fate, killed):
    async with service(tmp_path / "journal.db") as before:
        await before.create("walker")
        life = before.supervisor.life("walker")
        await life.start(paused=True)
        one = await submitted(life.agent)
        await life.agent.facts.advance(one.id, fate)
        await life.stop()
        await until(life.agent, lambda: life.agent.record.state == "stopped")
        documents = measured(one.point, one.id)
        for name, document in [] if killed else documents:
            before.supervisor.dispatcher.on_document(name, document, "r")
        if not killed:
            await until(life.agent, lambda: life.agent.record.suggestion(one.id).state is State.MEASURED)
    async with service(tmp_path / "journal.db") as rooms:
        await rooms.supervisor.recover({one.id: [Run.from_documents(documents)]})
        agent = rooms.supervisor.agent("walker")
        await until(agent, lambda: agent.record.suggestion(one.id).state is State.MEASURED)
        suggestion = agent.record.suggestion(one.id)
        assert (suggestion.run_uid, set(suggestion.outcome)) == ("r", set(agent.spec.outcomes))
        assert agent.record.state == "stopped"
        await rooms.supervisor.life("walker").start(paused=True)
        await until(agent, lambda: agent.record.state == "paused")
        await rooms.supervisor.life("walker").resume()
        await until(agent, lambda: agent.record.suggestion(one.id).state is State.INGESTED)
        assert agent.record.ingested_runs.keys() == {"r"}


async def test_a_run_whose_documents_follow_the_word_that_its_plan_has_ended_counts(tmp_path, monkeypatch):
    """As those of a session at a queue server, which says so itself, after a restart of the service."""
    async with ended_with(tmp_path / "journal.db") as (rooms, agent, one):
        sink = Elsewhere(monkeypatch, rooms.sink, [one.id])
        await rooms.supervisor.recover({})
        sink.plans[one.id].set_result(PlanResult(ExitStatus.SUCCESS))
        await until(agent, lambda: agent.record.state == "paused")
        await asyncio.sleep(0)
        for name, document in measured(one.point, one.id):
            rooms.supervisor.dispatcher.on_document(name, document, "r")
        await until(agent, lambda: agent.record.suggestion(one.id).state is State.INGESTED)
