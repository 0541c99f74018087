"""The disk is full when a brain was called: the brain is never ahead of the journal, nor gone without a word."""

import asyncio
import contextlib
import contextvars

import pytest
from disks import filled, largest_file, small_disk
from headless_service import HeadlessService

from agent_service import context
from agent_service.agents.tasks import Role
from agent_service.errors import AgentFault, BackendUnavailable
from agent_service.journal import _writer_thread
from agent_service.models.state_machines import AgentState

POINT = {"x": 0.5, "y": 0.5, "signal": 2.0}


@pytest.fixture(params=["no file may grow", "a disk without space"])
async def rooms(request, tmp_path, monkeypatch):
    """A service; within ``full()`` its disk is full; ``tried()`` returns when the journal noticed it several times."""
    monkeypatch.setattr(_writer_thread, "RETRY_S", 0.05)
    with contextlib.ExitStack() as stack:
        real = request.param == "a disk without space"
        disk = stack.enter_context(small_disk(tmp_path / "disk")) if real else tmp_path
        one = HeadlessService(disk / "journal.db")
        await one.open()
        wal = disk / "journal.db-wal"
        one.full = (lambda: filled(disk)) if real else (lambda: largest_file(wal.stat().st_size))
        one.tried = lambda: tried(one.journal._writer._store, monkeypatch)
        yield one
        await one.close()


async def tried(store, monkeypatch, times=4):
    insert, loop, attempts = store._insert, asyncio.get_running_loop(), asyncio.Semaphore(0)

    def counted(batch):
        loop.call_soon_threadsafe(attempts.release)
        insert(batch)

    monkeypatch.setattr(store, "_insert", counted)
    async with asyncio.timeout(20):
        for _ in range(times):
            await attempts.acquire()
    monkeypatch.setattr(store, "_insert", insert)


@pytest.fixture
def faults(tmp_path):
    path = tmp_path / "faults"
    path.write_text("0")
    return path


def patiently(work):
    """Do something as the service itself does."""
    surroundings = contextvars.copy_context()
    surroundings.run(context.enter_background)
    return asyncio.create_task(work, context=surroundings)


async def until(agent, condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.wait({agent.changed()}, timeout=0.1)


async def begun(rooms, state=AgentState.PAUSED, **spec):
    agent = await rooms.create("walker", **{"loop": {"approval": "required"}, "executor": "thread", **spec})
    await rooms.supervisor.lives["walker"].start(paused=state is AgentState.PAUSED)
    if state is AgentState.RUNNING:  # its loop has proposed one, and waits for a person
        await until(agent, lambda: agent.record.suggestions)
    assert agent.record.state is state
    return agent


def frail(faults, where, **spec):
    return {"type": "crashing_brain:Frail", "config": {"faults": str(faults), "where": where}, **spec}


CALLS = {
    "suggest": lambda agent: agent.suggest(2, by="person"),
    "ingest": lambda agent: agent.ingest([POINT]),
    "variable": lambda agent: agent.set_variable("gain", 7.0),
}


@pytest.mark.parametrize("call", CALLS)
async def test_nobody_asks_a_brain_that_knows_more_than_the_journal(rooms, call):
    agent = await begun(rooms)
    builds = agent.brain.builds
    with rooms.full():
        refused = asyncio.create_task(CALLS[call](agent))
        await asyncio.sleep(0)  # it has the lock, and the others wait for it
        requests = [asyncio.create_task(agent.suggest(1, by="person")), asyncio.create_task(agent.report())]
        works = [patiently(agent.suggest(1, by="loop")), patiently(agent.report())]
        with pytest.raises(BackendUnavailable, match="nothing was acknowledged"):
            await refused
        for one in requests:
            with pytest.raises(BackendUnavailable, match="nothing was acknowledged"):
                await one
        await rooms.tried()
        assert not any(one.done() for one in works)
        assert agent.brain.builds == builds, "what it is to be told is not known yet"
    [suggestion], report = await asyncio.gather(*works)
    assert agent.brain.builds == builds + 1
    assert (suggestion.point["x"], report.report["n"]) == (0, 0)
    assert agent.brain.variables["gain"].value == 1.0
    assert agent.record.state is AgentState.PAUSED


@pytest.mark.parametrize("state", [AgentState.PAUSED, AgentState.RUNNING])
@pytest.mark.parametrize("on_fault", ["fail", "restart"])
async def test_a_brain_that_cannot_be_built_anew_is_a_fault_that_is_told(rooms, faults, state, on_fault):
    agent = await begun(rooms, state, **frail(faults, "constructor", on_fault=on_fault, restarts={"pause": 0.01}))
    faults.write_text("1")
    with rooms.full():
        with pytest.raises(BackendUnavailable):
            await agent.ingest([POINT])
        await rooms.tried()
    if on_fault == "fail":
        await until(agent, lambda: agent.record.state is AgentState.FAILED)
        assert agent.record.reason.startswith("rebuild failed: ")
        assert not agent.brain.is_there
    else:
        await until(agent, lambda: agent.record.last_error and agent.record.state is state)
        assert (await agent.report()).report["n"] == 0


@pytest.mark.parametrize("state", [AgentState.PAUSED, AgentState.RUNNING])
@pytest.mark.parametrize("on_fault", ["fail", "restart"])
async def test_a_brain_that_fails_in_a_request_is_a_fault_that_is_told(rooms, faults, state, on_fault):
    agent = await begun(rooms, state, **frail(faults, "ingest", on_fault=on_fault, restarts={"pause": 0.01}))
    faults.write_text("1")
    with rooms.full():
        with pytest.raises(BackendUnavailable, match="nothing was acknowledged"):
            await agent.ingest([POINT])
        assert agent.record.state is state
        waits = patiently(agent.report())
        await rooms.tried()
        assert not waits.done(), "whether there will be a brain is not known yet"
    if on_fault == "fail":
        await until(agent, lambda: agent.record.state is AgentState.FAILED)
        assert agent.record.reason.startswith("ingest failed: ")
        assert not agent.brain.is_there
    else:
        await until(agent, lambda: agent.record.last_error and agent.record.state is state)
        assert "(1 of 5)" in next(one.data["reason"] for one in rooms.journal.read() if one.data.get("restart_as"))
        assert (await agent.report()).report["n"] == 0
    await asyncio.gather(waits, return_exceptions=True)


async def test_a_stop_ends_the_rebuilding(rooms, faults):
    agent = await begun(rooms, **frail(faults, "constructor", timeouts={"start": 30}))
    life = rooms.supervisor.lives["walker"]
    with rooms.full(), pytest.raises(BackendUnavailable):
        await agent.ingest([POINT])
    await life.stop()
    assert agent.record.state is AgentState.STOPPED
    assert not agent.tasks.under_way(Role.REBUILD)
    assert not agent.brain.is_there
    await life.start(paused=True)
    assert (await agent.report()).report["n"] == 0


async def test_without_a_full_disk_a_fault_is_the_answer(rooms, faults):
    agent = await begun(rooms, **frail(faults, "ingest"))
    faults.write_text("1")
    with pytest.raises(AgentFault, match="no luck in ingest"):
        await agent.ingest([POINT])
    assert agent.record.state is AgentState.FAILED
