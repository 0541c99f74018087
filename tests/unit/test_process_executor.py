"""What only a process of its own can promise: it dies alone, says how, and leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from archive_rig import alive, descriptors
from hosted_objects import Mortal

from agent_service.errors import AgentFault, DeadlineExceeded
from agent_service.executors.event_loops import new_event_loop
from agent_service.executors.process._executor import ProcessExecutor
from agent_service.executors.process._launcher import import_path


@pytest.fixture
async def executor():
    one = ProcessExecutor(preload=["numpy.random"])
    yield one
    await one.close()


@pytest.fixture
async def handle(executor):
    one = await executor.start(Mortal, name="guest", timeout_s=30)
    yield one
    await one.close()


async def until(condition, within_s=20.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_it_is_another_process_that_steps_back(handle, tmp_path, monkeypatch):
    assert await handle.call(Mortal.pid, timeout_s=10) == handle.pid != os.getpid()
    found = await handle.call(Mortal.look, timeout_s=10)
    assert found["nice"] == 10 + os.nice(0)
    assert found["threads"] == "1"
    assert found["folder"] == str(Path.cwd())
    assert found["path"] == import_path()
    assert found["parents"]


async def test_random_numbers_differ_between_agents(executor):
    handles = [await executor.start(Mortal, name=name, timeout_s=30) for name in "abc"]
    drawn = [await one.call(Mortal.draw, timeout_s=10) for one in handles]
    assert len({one[0] for one in drawn}) == 3, "the standard library's"
    assert len({one[2] for one in drawn}) == 3, "numpy's"
    assert len({one[1] for one in drawn}) == 1, "those with a seed are what they were"


@pytest.mark.parametrize(
    ("method", "args", "said"),
    [
        (Mortal.kill, (signal.SIGKILL,), "killed by SIGKILL .*ran out of memory"),
        (Mortal.kill, (signal.SIGTERM,), "killed by SIGTERM"),
        (Mortal.segfault, (), "killed by SIGSEGV"),
        (Mortal.leave, (3,), "ended with exit code 3"),
        (Mortal.leave, (0,), "ended with exit code 0"),
    ],
)
async def test_a_death_during_a_call_says_how(executor, method, args, said):
    handle = await executor.start(Mortal, name="guest", timeout_s=30)
    with pytest.raises(AgentFault, match=said) as caught:
        await handle.call(method, *args, timeout_s=30)
    if method is Mortal.segfault:
        assert "in segfault" in caught.value.traceback, "faulthandler's output"
    with pytest.raises(AgentFault, match=said):
        await handle.call(Mortal.pid, timeout_s=10)
    assert (await asyncio.wait_for(handle.died, 10)).detail == caught.value.detail


async def test_a_death_between_calls_is_noticed_at_once(handle):
    os.kill(handle.pid, signal.SIGKILL)
    found = await asyncio.wait_for(asyncio.shield(handle.died), 10)
    assert "agent 'guest' was killed by SIGKILL" in found.detail


async def test_an_endless_loop_is_killed_at_its_deadline(handle):
    pid = handle.pid
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handle.call(Mortal.spin, timeout_s=60), 0.2)
    await until(lambda: not alive(pid))


async def test_memory_is_limited(executor):
    handle = await executor.start(Mortal, name="guest", timeout_s=30, memory_limit_mb=300)
    assert await handle.call(Mortal.eat, 50, timeout_s=30) == 50 << 20
    with pytest.raises(AgentFault, match=r"MemoryError.*memory_limit_mb is 300"):
        await handle.call(Mortal.eat, 4096, timeout_s=30)
    assert await handle.call(Mortal.eat, 50, timeout_s=30) == 50 << 20
    with pytest.raises(AgentFault, match="MemoryError"):
        await handle.call(Mortal.eat, 4096, timeout_s=30)


async def test_what_does_not_pickle_is_a_fault_in_one_line(executor, handle):
    with pytest.raises(AgentFault, match=r"what it returned cannot be sent.*TypeError.*lock.*return plain values"):
        await handle.call(Mortal.give, "lock", timeout_s=10)
    with pytest.raises(AgentFault, match="does not pickle"):
        await handle.call(Mortal.give, threading.Lock(), timeout_s=10)
    assert await handle.call(Mortal.give, "pid", timeout_s=10) == handle.pid
    lock = threading.Lock()
    with pytest.raises(AgentFault, match="does not pickle"):
        await executor.start(lambda: lock, name="locked", timeout_s=30)


async def test_what_an_agent_started_ends_with_it(executor):
    for end in ("close", "death"):
        handle = await executor.start(Mortal, name="guest", timeout_s=30)
        pid = await handle.call(Mortal.spawn, timeout_s=10)
        assert alive(pid)
        if end == "close":
            await handle.close()
        else:
            os.kill(handle.pid, signal.SIGKILL)
        await until(lambda pid=pid: not alive(pid))


async def test_printing_without_end_neither_blocks_nor_is_lost(executor):
    handle = await executor.start(Mortal, name="guest", timeout_s=30)
    assert await handle.call(Mortal.shout, 20_000, timeout_s=60) == 20_000
    with pytest.raises(AgentFault) as caught:
        await handle.call(Mortal.leave, 1, timeout_s=10)
    assert "line 19999" in caught.value.traceback
    assert len(caught.value.traceback) < 10_000


async def test_what_it_prints_is_told(executor):
    told = []
    handle = await executor.start(Mortal, name="guest", timeout_s=30, on_notice=told.append)
    await handle.call(Mortal.shout, 2, timeout_s=60)
    await until(lambda: len(told) == 2)
    assert [(one.logger, one.message[:6]) for one in told] == [("output", "line 0"), ("output", "line 1")]


async def test_nothing_is_left_behind(executor):
    first = await executor.start(Mortal, name="first", timeout_s=30)
    await first.close()
    before, pids = descriptors(), []
    for number in range(20):
        handle = await executor.start(Mortal, name="guest", timeout_s=30)
        assert (await handle.call(Mortal.look, timeout_s=10))["descriptors"] < 12, "descriptors of others"
        pids.append(handle.pid)
        if number % 2:
            os.kill(handle.pid, signal.SIGKILL)
            await asyncio.wait_for(handle.died, 10)
        await handle.close()
    server = executor._fork_servers[()].pid
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    await until(lambda: set(descriptors()) <= set(before))
    await executor.close()
    assert not Path(f"/proc/{server}").exists()


async def test_the_fork_server_may_die(executor, handle):
    other = await executor.start(Mortal, name="other", timeout_s=30)
    os.kill(executor._fork_servers[()].pid, signal.SIGKILL)
    await until(lambda: executor._fork_servers[()].pid is None)
    assert await handle.call(Mortal.pid, timeout_s=10) == handle.pid
    third = await executor.start(Mortal, name="third", timeout_s=30)
    assert await third.call(Mortal.pid, timeout_s=10) == third.pid
    with pytest.raises(DeadlineExceeded):
        await other.call(Mortal.spin, timeout_s=0.1)
    await until(lambda: not alive(other.pid))
    os.kill(handle.pid, signal.SIGKILL)
    assert "ended" in (await asyncio.wait_for(handle.died, 10)).detail


def test_the_event_loop_of_the_service_will_do():
    async def live():
        executor, told = ProcessExecutor(preload=[]), []
        handle = await executor.start(Mortal, name="guest", timeout_s=30, on_notice=told.append)
        other = await executor.start(Mortal, name="other", timeout_s=30)
        assert await handle.call(Mortal.shout, 1, timeout_s=10) == 1
        await until(lambda: told)
        assert await handle.call(Mortal.eat, 1, timeout_s=10) == 1 << 20
        with pytest.raises(DeadlineExceeded):
            await other.call(Mortal.spin, timeout_s=0.1)
        await until(lambda: not alive(other.pid))
        os.kill(handle.pid, signal.SIGKILL)
        assert "SIGKILL" in (await asyncio.wait_for(handle.died, 10)).detail
        await executor.close()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(live())


SERVICE = """
import asyncio, os, sys, time
from agent_service.executors.process._executor import ProcessExecutor

class Mine:                                   # lives in __main__, as in a notebook, and there is no guard
    def __init__(self): self.shift = shift
    def add(self, x): return x + self.shift
    def spin(self):
        while True: pass

shift = 40

async def main():
    executor = ProcessExecutor(preload=[])
    idle = await executor.start(Mine, name="idle", timeout_s=30)
    assert await idle.call(Mine.add, 2, timeout_s=10) == 42
    busy = await executor.start(Mine(), name="never", timeout_s=30) if False else None
    busy = await executor.start(Mine, name="busy", timeout_s=30)
    call = asyncio.ensure_future(busy.call(Mine.spin, timeout_s=100))
    print(os.getpid(), executor._fork_servers[()].pid, idle.pid, busy.pid, flush=True)
    await asyncio.sleep(100)

asyncio.run(main())
"""


@pytest.mark.parametrize("with_fork_server", [False, True])
async def test_classes_of_main_travel_and_all_end_with_the_service(with_fork_server):
    service = subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    with service:
        _, server, *agents = map(int, service.stdout.readline().split())
        assert all(alive(pid) for pid in (server, *agents))
        if with_fork_server:
            os.kill(server, signal.SIGKILL)
        service.kill()
        await until(lambda: not any(alive(pid) for pid in (server, *agents)))


async def test_the_owner_s_key_is_not_in_its_environment(executor, monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("OF_THE_FACILITY", "is there")
    one = await executor.start(Mortal, name="guest", timeout_s=30)
    assert await one.call(Mortal.variable, "AGENT_SERVICE_API_KEY", timeout_s=10) is None
    assert await one.call(Mortal.variable, "OF_THE_FACILITY", timeout_s=10) == "is there"
    await one.close()


@pytest.mark.parametrize("ends_by", ["close", "kill -9"])
async def test_a_killed_compilation_hangs_no_other_agent(executor, ends_by):
    handle = await executor.start(Mortal, name="guest", timeout_s=30)
    folder = await handle.call(Mortal.compile, timeout_s=10)
    if ends_by == "close":
        await handle.close()
    else:
        with pytest.raises(AgentFault):
            await handle.call(Mortal.kill, signal.SIGKILL, timeout_s=10)
    other = await executor.start(Mortal, name="guest", timeout_s=30)
    assert await other.call(Mortal.compile, timeout_s=10) != folder
    await other.close()
    await until(lambda: not Path(folder).parent.exists())


# --- libraries that are imported once


def library(tmp_path, monkeypatch, source):
    """Make a module that is imported where it is told to be, and says in which process it was."""
    (tmp_path / "big_library.py").write_text(f"import os\nHOME = os.getpid()\n{source}\n")
    monkeypatch.syspath_prepend(tmp_path)


class Reader:
    def __init__(self):
        import big_library

        self.library = big_library

    def home(self):
        return self.library.HOME

    def drawn(self):
        import random

        return random.random()


async def test_a_library_is_imported_once_for_all_that_need_it(executor, tmp_path, monkeypatch):
    library(tmp_path, monkeypatch, "")
    first, second = [
        await executor.start(Reader, name=name, timeout_s=60, libraries=["big_library"]) for name in ("a", "b")
    ]
    server = executor._fork_servers[("big_library",)]
    assert await first.call(Reader.home, timeout_s=60) == await second.call(Reader.home, timeout_s=60) == server.pid
    assert first.pid != second.pid
    assert await first.call(Reader.drawn, timeout_s=60) != await second.call(Reader.drawn, timeout_s=60)
    assert first.memory_bytes() > 1 << 20
    other = await executor.start(Mortal, name="other", timeout_s=60)
    assert executor._fork_servers[()].pid != server.pid
    os.kill(first.pid, signal.SIGKILL)
    await asyncio.wait_for(first.died, 60)
    assert first.memory_bytes() is None
    third = await executor.start(Reader, name="c", timeout_s=60, libraries=["big_library"])
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: server.pid is None)
    again = await executor.start(Reader, name="d", timeout_s=60, libraries=["big_library"])
    assert await again.call(Reader.home, timeout_s=60) == executor._fork_servers[("big_library",)].pid != again.pid
    pids = [one.pid for one in (second, third, again, other, *executor._fork_servers.values())]
    await executor.close()
    await until(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.parametrize(
    "source",
    ["import threading, time; threading.Thread(target=time.sleep, args=(100,), daemon=True).start()", "os._exit(3)"],
    ids=["runs a thread", "ends the process"],
)
async def test_a_library_that_cannot_be_imported_once_is_imported_by_each(executor, tmp_path, monkeypatch, source):
    library(tmp_path, monkeypatch, f"if os.getppid() == {os.getpid()}: {source}")  # in a fork server, and nowhere else
    handle = await executor.start(Reader, name="a", timeout_s=60, libraries=["big_library"])
    assert await handle.call(Reader.home, timeout_s=60) == handle.pid


async def test_a_library_whose_import_hangs_does_not_hang_the_next(executor, tmp_path, monkeypatch):
    library(tmp_path, monkeypatch, f"import time\nif os.getppid() == {os.getpid()}: time.sleep(1000)")
    with pytest.raises(DeadlineExceeded):
        await executor.start(Reader, name="a", timeout_s=5, libraries=["big_library"])
    handle = await executor.start(Reader, name="b", timeout_s=60, libraries=["big_library"])
    assert await handle.call(Reader.home, timeout_s=60) == handle.pid
