"""The states of brains on disk: what is of use after a restart, and what is passed over."""

import asyncio
import json
import stat

import brainbox
import pytest
from headless_service import service

from agent_service.agents import saved_brains
from agent_service.agents.saved_brains import SavedBrains
from agent_service.errors import AgentFault
from agent_service.models import AgentPatch
from agent_service.models.state_machines import AgentState, SuggestionState

HEAD = {"seq": 3, "spec": "s"}


async def until(condition, within_s=60):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


async def begun(rooms, **spec):
    agent = await rooms.create("walker", **spec)
    await rooms.supervisor.lives["walker"].start(paused=True)
    return agent


async def saved(agent):
    """Let its state be saved; return the number of the last fact that it was told."""
    await agent.keeper.saver.save_before_end()
    return (await agent.keeper.saver.find(agent.brain.spec)).seq


async def learned(agent, times=3):
    for _ in range(times):
        [one] = await agent.suggest(1, by="person")
        await agent.ingest([{**one.point, "signal": 1.0, "_id": one.id}])


@pytest.fixture(params=["thread", "process"])
def executor(request):
    return request.param


@pytest.fixture
def state(tmp_path):
    return tmp_path / "brains" / "walker"


async def test_a_service_goes_on_from_the_state_and_tells_the_rest(tmp_path, executor):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await begun(rooms, executor=executor)
        await learned(agent)
        seq = await saved(agent)
        [one] = await agent.suggest(1, by="person")  # after it
        facts = [fact.seq for fact in agent.keeper.told.read()]
        assert seq in facts
        assert agent.record.last_told[0] == facts[-1] > seq
        agent.keeper.saver._folder = None  # no more of it, as if killed
    async with service(tmp_path / "journal.db") as rooms:
        agent = rooms.supervisor.agent("walker")
        told = []
        build = agent.brain.build

        async def watched(spec, *, facts, **more):
            async def noted(after):
                told.append(await facts(after))
                return told[-1]

            return await build(spec, facts=noted, **more)

        agent.brain.build = watched
        await agent.keeper.build()
        assert [len(facts) for facts in told] == [1]
        [following] = await agent.suggest(1, by="person")
        assert following.point["x"] == one.point["x"] + 1, "it knows how often it was asked"


async def test_it_is_saved_after_a_while_and_at_the_end(tmp_path, state):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await begun(rooms)
        state.unlink()
        await learned(agent, 1)
        await until(state.exists)
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        assert stat.S_IMODE(state.parent.stat().st_mode) == 0o700
        await learned(agent, 1)
        state.unlink()
        await rooms.supervisor.lives["walker"].stop()
        assert state.exists()
        await rooms.supervisor.delete("walker")
        assert not state.exists()


async def test_a_pause_while_it_is_saved_lets_it_live(tmp_path):
    brainbox.done_saving.set()
    try:
        async with service(tmp_path / "journal.db") as rooms:
            agent = await begun(rooms, type="brainbox:SlowToSave", loop={"approval": "required"})
            life = rooms.supervisor.lives["walker"]
            brainbox.saving.clear()
            brainbox.done_saving.clear()
            await learned(agent, times=1)
            await until(brainbox.saving.is_set)
            resuming = asyncio.create_task(life.resume())
            await until(lambda: agent.record.state == AgentState.RUNNING)
            await life.pause()
            brainbox.done_saving.set()
            await resuming
            [one] = await agent.suggest(1, by="person")
            assert one.id in agent.record.open
    finally:
        brainbox.done_saving.set()


async def test_a_fact_that_is_written_while_it_is_saved_is_not_in_the_state(tmp_path):
    brainbox.done_saving.set()
    try:
        async with service(tmp_path / "journal.db") as rooms:
            agent = await begun(rooms, type="brainbox:SlowToSave", loop={"approval": "required"})
            [one] = await agent.suggest(1, by="person")
            before = agent.record.last_told[0]
            agent.keeper.saver._is_dirty = True
            brainbox.saving.clear()
            brainbox.done_saving.clear()
            saving = asyncio.create_task(agent.keeper.saver.save_before_end())
            await until(brainbox.saving.is_set)
            rejecting = asyncio.create_task(rooms.supervisor.decisions.reject(one.id, ""))
            await until(lambda: agent.record.suggestion(one.id).state == SuggestionState.REJECTED)
            brainbox.done_saving.set()
            await saving
            assert (await agent.keeper.saver.find(agent.brain.spec)).seq == before
            await rejecting
    finally:
        brainbox.done_saving.set()


async def test_it_is_not_saved_more_often_than_it_may(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_brains, "AT_LEAST_EVERY_S", 1000.0)
    written = []
    write = SavedBrains.write
    monkeypatch.setattr(SavedBrains, "write", lambda *args: written.append(1) or write(*args))
    async with service(tmp_path / "journal.db") as rooms:
        agent = await begun(rooms)
        written.clear()
        await learned(agent, 1)
        await until(lambda: written and agent.brain.call_lock.is_free)
        await learned(agent, 20)
        assert len(written) == 1
        agent.keeper.saver.save_soon()  # as a pause does
        await until(lambda: len(written) == 2)


@pytest.mark.parametrize("spoilt", [b"", b"{", b'{"seq": 1}\nxx', b"\x80\x04\n", None])
async def test_a_file_that_is_spoilt_is_passed_over(tmp_path, state, spoilt):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await begun(rooms, type="sobol", config={"bounds": {"x": [0, 1], "y": [0, 1]}, "objective": "signal"})
        await learned(agent)
        await saved(agent)
        whole = state.read_bytes()
        for cut in range(0, len(whole), 97) if spoilt is None else [0]:
            state.write_bytes(whole[:cut] if spoilt is None else spoilt)
            assert await agent.keeper.saver.find(agent.brain.spec) is None
        await agent.keeper.build()
        assert (await agent.report()).report["n_measured"] == 3


async def test_a_state_that_cannot_be_loaded_is_passed_over(tmp_path, executor, caplog):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await begun(rooms, executor=executor)
        await learned(agent)
        await saved(agent)
        folder = agent.keeper.saver._folder
        head, payload = folder.read("walker")
        folder.write("walker", head, payload[:-5])
        await agent.keeper.build()
        assert (await agent.report()).report["n"] == 3
        assert "agent walker is told everything, for its saved state is of no use" in caplog.text


async def test_a_state_of_facts_that_the_journal_does_not_have_is_passed_over(tmp_path):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await begun(rooms)
        await learned(agent)
        await saved(agent)
        assert await agent.keeper.saver.find(agent.brain.spec)
        *facts, last = agent.keeper.told.read()
        there = [*facts]  # as after a power cut
        agent.keeper.told.read = lambda *, after: [fact for fact in there if fact.seq > after]
        assert await agent.keeper.saver.find(agent.brain.spec) is None
        there.append(last.model_copy(update={"time": agent.record.created_at}))  # another in its place
        assert await agent.keeper.saver.find(agent.brain.spec) is None


async def test_a_state_of_another_specification_is_passed_over(tmp_path, state):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await begun(rooms)
        await learned(agent)
        await saved(agent)
        find = agent.keeper.saver.find
        for other in ({"config": {"a": 1}}, {"actuators": ["x"]}, {"outcome": "other"}):
            assert await find(agent.brain.spec.model_copy(update=other)) is None
        assert await find(agent.brain.spec.model_copy(update={"memory_limit_mb": 1000, "executor": "process"}))
        before = state.read_bytes()
        await rooms.supervisor.patch("walker", AgentPatch(config={}))
        state.write_bytes(before)
        assert await find(agent.brain.spec) is None, "its variables may be others now"


async def test_a_new_agent_of_that_name_does_not_go_on_from_it(tmp_path, state):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await begun(rooms)
        await learned(agent)
        await saved(agent)
        kept = state.read_bytes()
        await rooms.supervisor.lives["walker"].stop()
        await rooms.supervisor.delete("walker")
        state.write_bytes(kept)
        agent = await rooms.create("walker")
        await agent.keeper.build()
        assert (await agent.report()).report["n"] == 0


async def test_a_brain_that_does_not_know_all_facts_is_not_saved(tmp_path, state):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await begun(rooms)
        [one] = await agent.suggest(1, by="person")
        before = state.read_bytes()
        async with agent.brain.call_lock:
            failing = asyncio.create_task(agent.fail_suggestion(one, SuggestionState.REJECTED, "no", fault=False))
            await until(lambda: one.id not in agent.record.open)  # a fact, and not told
            assert not agent.brain.in_step
            await agent.keeper.saver.save_before_end()
            assert state.read_bytes() == before
            failing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await failing
        await agent.keeper.saver.save_before_end()
        assert state.read_bytes() == before, "it will never hear of it"
        await agent.keeper.build()
        assert agent.brain.in_step


async def test_one_that_fails_as_soon_as_it_is_loaded_does_not_go_on_from_it_again(tmp_path, state):
    async with service(tmp_path / "journal.db") as rooms:
        agent = await begun(rooms)
        await learned(agent)
        await saved(agent)
        await agent.keeper.build()
        await agent.keeper.failed(AgentFault("it broke"))
        assert agent.record.state is AgentState.FAILED
        assert not state.exists()


def test_only_the_users_own_file_is_read(tmp_path, caplog):
    folder = SavedBrains(tmp_path / "brains")
    assert folder.read("a") is None
    folder.write("a", HEAD, b"state")
    assert folder.read("a") == (HEAD, b"state")
    (tmp_path / "brains" / "b").symlink_to(tmp_path / "brains" / "a")
    assert folder.read("b") is None
    (tmp_path / "brains" / "a").chmod(0o666)
    assert folder.read("a") is None
    assert "others can write" in caplog.text
    (tmp_path / "brains" / "a").chmod(0o600)
    (tmp_path / "brains").chmod(0o777)
    assert folder.read("a") is None


def test_what_belongs_to_no_agent_goes(tmp_path):
    folder = SavedBrains(tmp_path / "brains")
    folder.keep_only({"a"})
    folder.write("a", HEAD, b"state")
    folder.write("gone", HEAD, b"state")
    (tmp_path / "brains" / ".a.123").write_bytes(b"half")  # of a service that was killed while it wrote
    folder.keep_only({"a"})
    assert [path.name for path in (tmp_path / "brains").iterdir()] == ["a"]
    assert json.loads((tmp_path / "brains" / "a").read_bytes().partition(b"\n")[0])["seq"] == 3
