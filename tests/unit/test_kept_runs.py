"""Runs that were open when the service ended, and whose runs are taken over HTTP, by who measures the plans."""

import pytest
from headless_service import service

from agent_service.documents.intake import DocumentIntake
from agent_service.documents.sources.posted import PostedSource
from agent_service.documents.spool import Spool
from agent_service.errors import Forbidden
from agent_service.models.state_machines import SuggestionState as State
from agent_service.protocols import MeasuredBy
from agent_service.service.documents import DocumentDesk, may_measure


@pytest.fixture
async def rooms(tmp_path):
    async with service(tmp_path / "journal.db") as one:
        await one.create("walker")
        await one.supervisor.life("walker").start(paused=True)
        yield one


async def suggested(rooms, *states):
    agent = rooms.supervisor.agent("walker")
    [one] = await agent.suggest(1, by="loop")
    for state in states:
        await agent.facts.advance(one.id, state)
    return one.id


def desk_of(rooms, spool):
    return DocumentDesk(
        intake=DocumentIntake(spool.write),
        sources=[],
        posted=PostedSource(may_measure(rooms.supervisor)),
        spool=spool,
        supervisor=rooms.supervisor,
        on_change=lambda: None,
    )


@pytest.mark.parametrize("reattaches", [True, False])
async def test_an_open_run_is_closed_where_no_plan_outlives_the_service(rooms, tmp_path, monkeypatch, reattaches):
    monkeypatch.setattr(rooms.sink, "reattaches", reattaches, raising=False)
    suggestion_id = await suggested(rooms, State.APPROVED, State.SUBMITTED)
    before = Spool(tmp_path / "spool")
    before.write("start", {"uid": "r", "time": 1.0, "agent_suggestion_uid": suggestion_id}, "r")
    before.write("start", {"uid": "of nobody", "time": 1.0}, "of nobody")
    spool = Spool(tmp_path / "spool")
    desk = desk_of(rooms, spool)
    kept = await desk.kept_runs()
    assert [run.complete for run in kept[suggestion_id]] == [not reattaches]
    desk.start()
    desk.listen()
    if reattaches:  # posted once more
        desk.intake.put("start", {"uid": "r", "time": 1.0, "agent_suggestion_uid": suggestion_id})
    desk.intake.put("stop", {"uid": "s", "run_start": "r", "time": 2.0, "exit_status": "success", "num_events": {}})
    await desk.stop()
    ends = {str(spool.uid_of(path)): [doc for _, doc in spool.read(path)][1:] for path in spool.complete()}
    assert sorted(ends) == ["of nobody", "r"]
    assert [stop["exit_status"] for stop in ends["r"]] == ["success" if reattaches else "abort"]
    assert [stop["exit_status"] for stop in ends["of nobody"]] == ["abort"]


HANDED_OVER = (State.APPROVED, State.SUBMITTED)


@pytest.mark.parametrize(
    ("measured_by", "states", "refused"),
    [
        (MeasuredBy.SERVICE, HANDED_OVER, "measured by the service's own RunEngine"),
        (MeasuredBy.CLAIMER, HANDED_OVER, "claim it before you measure it"),
        (MeasuredBy.FACILITY, HANDED_OVER, None),
        (MeasuredBy.FACILITY, (*HANDED_OVER, State.EXPIRED), None),
        (MeasuredBy.FACILITY, (), "was not handed over"),
        (MeasuredBy.FACILITY, (State.REJECTED,), "was not handed over"),
    ],
)
async def test_whose_run_is_taken_over_http(rooms, monkeypatch, measured_by, states, refused):
    monkeypatch.setattr(rooms.sink, "measured_by", measured_by, raising=False)
    monkeypatch.setattr(rooms.sink, "moves", True, raising=False)
    suggestion_id = await suggested(rooms, *states)
    check = may_measure(rooms.supervisor)
    if refused is None:
        check(suggestion_id, "a key")
        return
    with pytest.raises(Forbidden, match=refused):
        check(suggestion_id, "a key")
