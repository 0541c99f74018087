"""One suite for executors: what a brain may do to its host, and what the host promises."""

import asyncio
import sys
import threading

import pytest

from agent_service.errors import AgentFault, DeadlineExceeded, NotFound
from agent_service.executors.thread import ThreadExecutor


class Guest:
    def __init__(self):
        self.calls = []
        self.thread = threading.current_thread()

    def add(self, number):
        assert threading.current_thread() is self.thread, "called in another thread than it was built in"
        self.calls.append(number)
        return sum(self.calls)

    def wait(self, event):
        event.wait(30)
        self.calls.append("late")
        return "late"

    def fail(self):
        msg = "first line\nsecond line"
        raise ValueError(msg)

    def leave(self):
        sys.exit(3)

    def not_found(self):
        raise NotFound("there is no such variable")


def unborn():
    msg = "no licence"
    raise OSError(msg)


@pytest.fixture(params=[ThreadExecutor])
def executor(request):
    return request.param()


@pytest.fixture
async def handle(executor):
    one = await executor.start(Guest, name="guest", timeout_s=10)
    yield one
    await one.close()


async def test_calls_come_one_at_a_time_and_in_order(handle):
    results = await asyncio.gather(*(handle.call("add", n, timeout_s=10) for n in range(50)))
    assert results == [sum(range(n + 1)) for n in range(50)]


async def test_what_it_raises_is_its_fault_with_its_traceback(handle):
    with pytest.raises(AgentFault) as caught:
        await handle.call("fail", timeout_s=10)
    assert caught.value.detail == "ValueError: first line second line"
    assert "def fail" not in caught.value.traceback
    assert "raise ValueError(msg)" in caught.value.traceback
    assert "agent_service" not in caught.value.traceback
    assert await handle.call("add", 1, timeout_s=10) == 1


async def test_exit_is_a_fault_too(handle):
    with pytest.raises(AgentFault, match="SystemExit: 3"):
        await handle.call("leave", timeout_s=10)


async def test_our_own_errors_pass_through(handle):
    with pytest.raises(NotFound, match="no such variable"):
        await handle.call("not_found", timeout_s=10)


async def test_a_constructor_that_raises(executor):
    with pytest.raises(AgentFault, match="no licence"):
        await executor.start(unborn, name="unborn", timeout_s=10)


async def test_the_event_loop_is_free_during_a_call_and_busy_says_which(handle):
    event = threading.Event()
    call = asyncio.ensure_future(handle.call("wait", event, timeout_s=30))
    while handle.busy is None:
        await asyncio.sleep(0)
    assert handle.busy[0] == "wait"
    assert not call.done()
    event.set()
    assert await call == "late"
    assert handle.busy is None


async def test_a_call_past_its_deadline_is_abandoned_and_so_is_the_object(handle):
    event = threading.Event()
    with pytest.raises(DeadlineExceeded, match=r"within 0.05 s"):
        await handle.call("wait", event, timeout_s=0.05)
    with pytest.raises(AgentFault, match="abandoned in wait"):
        await handle.call("add", 1, timeout_s=10)
    event.set()


async def test_a_slow_constructor_meets_the_deadline(executor):
    event = threading.Event()
    with pytest.raises(DeadlineExceeded):
        await executor.start(lambda: event.wait(30), name="slow", timeout_s=0.05)
    event.set()


async def test_closing_ends_the_call_under_way(handle):
    event = threading.Event()
    call = asyncio.ensure_future(handle.call("wait", event, timeout_s=30))
    while handle.busy is None:
        await asyncio.sleep(0)
    await handle.close()
    with pytest.raises(AgentFault, match="stopped during the call"):
        await call
    event.set()


async def test_a_cancelled_caller_abandons_the_call(handle):
    event = threading.Event()
    call = asyncio.ensure_future(handle.call("wait", event, timeout_s=30))
    while handle.busy is None:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(AgentFault):
        await handle.call("add", 1, timeout_s=10)
    event.set()
