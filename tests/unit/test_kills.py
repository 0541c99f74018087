"""A kill at each step of what passes between the service, the fork server and an agent's process.

Whatever the step, the caller gets an `AgentFault`, nothing hangs, and the executor is as good as before.
"""

import asyncio
import os
import resource
import signal
import socket
from contextlib import suppress

import pytest
from archive_rig import alive, descriptors
from hosted_objects import Mortal

from agent_service.errors import AgentFault
from agent_service.executors.process import _executor as process
from agent_service.executors.process._executor import ProcessExecutor, ProcessHandle
from agent_service.executors.process._launcher import ForkServerClient
from agent_service.executors.thread import ThreadExecutor
from agent_service.launch.uvicorn_server import new_event_loop

LOOPS = [asyncio.new_event_loop, new_event_loop]
LONG = {"nothing": "x" * 600_000}  # is pickled and loaded in a thread, not on the event loop


class Steps:
    """Counts the steps of a life, and does something at one of them."""

    def __init__(self, monkeypatch):
        self.seen, self.at, self.action = [], None, None
        self._wrap(monkeypatch, ForkServerClient, "_launch", has_await=True)
        self._wrap(monkeypatch, ForkServerClient, "fork", has_await=True)
        self._wrap(monkeypatch, ProcessHandle, "_send")
        self._wrap(monkeypatch, ProcessHandle, "heard")
        self._wrap(monkeypatch, ProcessHandle, "_send_slowly", has_await=True)
        self._wrap(monkeypatch, ProcessHandle, "build", has_await=True)
        self._wrap(monkeypatch, ProcessHandle, "call", has_await=True)
        self._wrap(monkeypatch, ProcessHandle, "close", has_await=True)

    def step(self, name):
        self.seen.append(name)
        if self.at == len(self.seen):
            self.action()

    def _wrap(self, monkeypatch, cls, method, *, has_await=False):
        real = getattr(cls, method)

        def plain(one, *args, **kwargs):
            self.step(f"before {method}")
            result = real(one, *args, **kwargs)
            self.step(f"after {method}")
            return result

        async def waiting(one, *args, **kwargs):
            self.step(f"before {method}")
            try:
                return await real(one, *args, **kwargs)
            finally:
                self.step(f"after {method}")

        monkeypatch.setattr(cls, method, waiting if has_await else plain)


async def life(executor, born):
    """Build, call in small and in large, twice at once, and close; return what was raised."""
    raised = []
    try:
        handle = await executor.start(Mortal, name="guest", timeout_s=20)
    except Exception as error:  # noqa: BLE001 - looked at by the test
        return [error]
    born.append(handle)
    calls = [(Mortal.pid,), (Mortal.give, "pid"), (Mortal.echo, LONG)]
    for method, *args in calls:
        results = await asyncio.gather(
            *(handle.call(method, *args, timeout_s=20) for _ in "ab"), return_exceptions=True
        )
        raised += [one for one in results if isinstance(one, BaseException)]
    await handle.close()
    return raised


def victims(executor, born):
    def agent():
        for one in list(executor._handles):
            if one.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)

    def fork_server():
        if executor._fork_servers and executor._fork_servers[()].pid is not None:
            os.kill(executor._fork_servers[()].pid, signal.SIGKILL)

    def both():
        agent()
        fork_server()

    return {"agent": agent, "fork server": fork_server, "both": both}


@pytest.mark.parametrize(
    ("loop_factory", "victim"),
    [(asyncio.new_event_loop, "agent"), *((new_event_loop, one) for one in ("agent", "fork server", "both"))],
)
def test_a_kill_at_each_step_is_a_fault(monkeypatch, loop_factory, victim):
    steps = Steps(monkeypatch)

    async def lives():
        executor = ProcessExecutor(preload=[])
        raised = await life(executor, [])
        assert raised == []
        n_steps = len(steps.seen)
        assert n_steps > 20
        told = []
        for at in range(1, n_steps + 1):
            born = []
            steps.seen, steps.at, steps.action = [], at, victims(executor, born)[victim]
            async with asyncio.timeout(30):
                raised = await life(executor, born)
            what = (at, steps.seen[at - 1] if at <= len(steps.seen) else "not reached", raised)
            assert all(isinstance(one, AgentFault) and one.died for one in raised), what
            told += raised
            for one in born:
                assert not alive(one.pid) or await gone(one.pid), what
            steps.at = None
            assert await life(executor, []) == [], ("afterwards", what)
        await executor.close()
        return told

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        told = runner.run(lives())
    if victim == "agent":
        assert any("was killed by SIGKILL" in one.detail for one in told)


async def gone(pid):
    for _ in range(2000):
        if not alive(pid):
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize("loop_factory", LOOPS, ids=["asyncio", "uvloop"])
def test_a_call_that_begins_before_the_death_is_understood(loop_factory):
    """The fork server is busy, with a sibling for example: how the process ended is not known yet."""

    async def live():
        executor = ProcessExecutor(preload=[])
        handle = await executor.start(Mortal, name="guest", timeout_s=20)
        os.kill(executor._fork_servers[()].pid, signal.SIGSTOP)
        try:
            os.kill(handle.pid, signal.SIGKILL)
            async with asyncio.timeout(20):
                while not handle._hung_up:
                    await asyncio.sleep(0)
            assert not handle.died.done()
            with pytest.raises(AgentFault, match="the process of agent 'guest' ended") as caught:
                await handle.call(Mortal.pid, timeout_s=20)
            assert caught.value.died
            assert (await handle.died).died
        finally:
            os.kill(executor._fork_servers[()].pid, signal.SIGCONT)
        await executor.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(live())


# --- what the system refuses


async def test_no_descriptor_left_is_a_fault_and_costs_none():
    executor = ProcessExecutor(preload=[])
    handle = await executor.start(Mortal, name="first", timeout_s=20)
    before, limits = descriptors(), resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[1]), limits[1]))
        with suppress(OSError):
            while True:
                kept.append(os.dup(0))
        for n_free in range(8):
            raised = None
            try:
                await (await executor.start(Mortal, name="second", timeout_s=20)).close()
            except AgentFault as error:
                raised = error
            assert raised is not None or n_free > 3, "a process takes two descriptors on each side"
            assert raised is None or (raised.died and "agent 'second'" in raised.detail)
            os.close(kept.pop())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for one in kept:
            os.close(one)
    assert await handle.call(Mortal.pid, timeout_s=20) == handle.pid
    await executor.close()
    assert len(descriptors()) <= len(before)


async def test_no_thread_left_is_a_fault(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    executor = ThreadExecutor()
    with monkeypatch.context() as context:
        context.setattr("threading.Thread.start", refuse)
        with pytest.raises(AgentFault, match=r"agent 'guest'.*can't start new thread") as caught:
            await executor.start(Mortal, name="guest", timeout_s=20)
    assert caught.value.died
    handle = await executor.start(Mortal, name="guest", timeout_s=20)
    assert await handle.call(Mortal.pid, timeout_s=20) == os.getpid()
    await handle.close()


async def test_nonsense_on_the_connection_is_a_death():
    executor = ProcessExecutor(preload=[])
    for frame in (b"\xff" * 64, bytes([5, 0, 0, 0, 0, 0, 0, 0, process.Kind.HELLO]) + b"hello"):
        handle = await executor.start(Mortal, name="guest", timeout_s=20)
        with pytest.raises(AgentFault) as caught:
            await handle.call(Mortal.babble, frame, timeout_s=20)
        assert caught.value.died
        assert await gone(handle.pid)
    await executor.close()


async def test_a_time_out_of_the_system_is_not_the_calls_deadline(monkeypatch):
    executor = ProcessExecutor(preload=[])

    def refuse(*args):
        raise TimeoutError(110, "Connection timed out")

    with monkeypatch.context() as context:
        context.setattr(socket, "socketpair", refuse)
        with pytest.raises(AgentFault, match="timed out"):
            await executor.start(Mortal, name="guest", timeout_s=20)
    await executor.close()
