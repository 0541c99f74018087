"""One suite for executors: what a brain may do to its host, and what the host promises."""

import asyncio
import math
import os
import threading
from pathlib import Path

import pytest
from dask_cluster import DaskCluster
from hosted_objects import Gate, HostedObject, unborn

from agent_service.errors import AgentFault, DeadlineExceeded, FieldError, InvalidConfig, NotFound
from agent_service.executors.dask import DaskExecutor
from agent_service.executors.dask.config import DaskSection
from agent_service.executors.notices import listening_to_logs
from agent_service.executors.process._executor import ProcessExecutor
from agent_service.executors.thread import ThreadExecutor
from agent_service.protocols import LogNotice, ProgressNotice

EXECUTORS = [ThreadExecutor, ProcessExecutor, DaskExecutor]


@pytest.fixture(scope="module")
def dask_section(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask")
    with DaskCluster(folder, offers=("",), path=[Path(__file__).parents[1] / "support"]) as cluster:
        yield DaskSection(address=cluster.address)


@pytest.fixture
def timed():
    return []


@pytest.fixture(params=EXECUTORS)
async def executor(request, timed):
    where = [request.getfixturevalue("dask_section")] if request.param is DaskExecutor else []
    one = request.param(*where, on_call=lambda call, seconds: timed.append((call, seconds)))
    yield one
    await one.close()


@pytest.fixture
async def handle(executor):
    one = await executor.start(HostedObject, name="guest", timeout_s=30)
    yield one
    await one.close()


@pytest.fixture
def gate(tmp_path):
    one = Gate(tmp_path / "gate")
    yield one
    one.open()


async def in_call(handle, call):
    while handle.busy is None or handle.busy[0] == "start":
        assert not call.done()
        await asyncio.sleep(0)


async def test_calls_come_one_at_a_time_and_in_order(handle):
    results = await asyncio.gather(*(handle.call(HostedObject.add, n, timeout_s=10) for n in range(50)))
    assert results == [sum(range(n + 1)) for n in range(50)]


async def test_what_it_raises_is_its_fault_with_its_traceback(handle):
    with pytest.raises(AgentFault) as caught:
        await handle.call(HostedObject.fail, timeout_s=10)
    assert caught.value.detail == "ValueError: first line second line"
    assert "raise ValueError(msg)" in caught.value.traceback
    assert "agent_service" not in caught.value.traceback
    assert await handle.call(HostedObject.add, 1, timeout_s=10) == 1
    assert not handle.died.done()


async def test_exit_is_a_fault_too(handle):
    with pytest.raises(AgentFault, match="SystemExit: 3"):
        await handle.call(HostedObject.leave, timeout_s=10)
    assert await handle.call(HostedObject.add, 1, timeout_s=10) == 1


@pytest.mark.parametrize(
    ("method", "said"),
    [(HostedObject.nameless, "message could not be made"), (HostedObject.undecodable, r"model-\\udc80")],
)
async def test_an_exception_that_is_hard_to_tell_is_told(handle, method, said):
    with pytest.raises(AgentFault, match=said) as caught:
        await handle.call(method, timeout_s=10)
    (caught.value.detail + caught.value.traceback).encode("utf-8")


async def test_our_own_errors_pass_through(handle):
    with pytest.raises(NotFound, match="no such variable"):
        await handle.call(HostedObject.not_found, timeout_s=10)
    with pytest.raises(InvalidConfig) as caught:
        await handle.call(HostedObject.invalid, timeout_s=10)
    assert caught.value.errors == (FieldError("config.gain", "is missing"),)
    assert caught.value.legal == ("stop",)


async def test_values_come_back_as_they_were(handle):
    nan, *rest = await handle.call(
        HostedObject.echo, math.nan, math.inf, None, {"a": [1, 2.5]}, b"\0", "\u00e4", timeout_s=10
    )
    assert math.isnan(nan)
    assert tuple(rest) == (math.inf, None, {"a": [1, 2.5]}, b"\0", "\u00e4")


async def test_large_values_travel_both_ways(handle):
    large = {"numbers": list(range(300_000)), "bytes": bytes(3_000_000)}
    assert await handle.call(HostedObject.echo, large, timeout_s=30) == (large,)


async def test_a_missing_method_is_a_fault(handle):
    def nothing(target): ...

    with pytest.raises(AgentFault, match=r"AttributeError.*nothing"):
        await handle.call(nothing, timeout_s=10)


async def test_a_constructor_that_raises(executor):
    with pytest.raises(AgentFault, match="OSError: no licence") as caught:
        await executor.start(unborn, name="unborn", timeout_s=30)
    assert "raise OSError(msg)" in caught.value.traceback


async def test_the_event_loop_is_free_during_a_call_and_busy_says_which(handle, gate):
    call = asyncio.ensure_future(handle.call(HostedObject.wait, gate, timeout_s=30))
    await in_call(handle, call)
    assert handle.busy[0] == "wait"
    assert not call.done()
    gate.open()
    assert await call == "late"
    assert handle.busy is None


async def test_a_call_past_its_deadline_is_abandoned_and_so_is_the_object(executor, handle, gate):
    with pytest.raises(DeadlineExceeded, match=r"within 0.05 s") as told:
        await handle.call(HostedObject.wait, gate, timeout_s=0.05)
    assert ("its thread computes on" in told.value.detail) is not executor.isolated
    with pytest.raises(AgentFault, match="abandoned in wait"):
        await handle.call(HostedObject.add, 1, timeout_s=10)
    assert not handle.died.done()


async def test_a_slow_constructor_meets_the_deadline(executor, gate):
    first = await executor.start(HostedObject, name="first", timeout_s=30)
    await first.close()
    with pytest.raises(DeadlineExceeded):
        await executor.start(gate.wait, name="slow", timeout_s=0.3)


async def test_closing_ends_the_call_under_way(handle, gate):
    call = asyncio.ensure_future(handle.call(HostedObject.wait, gate, timeout_s=30))
    await in_call(handle, call)
    await handle.close()
    with pytest.raises(AgentFault, match="stopped during the call"):
        await call


async def test_a_cancelled_caller_abandons_the_call(handle, gate):
    call = asyncio.ensure_future(handle.call(HostedObject.wait, gate, timeout_s=30))
    await in_call(handle, call)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(AgentFault, match="abandoned in wait"):
        await handle.call(HostedObject.add, 1, timeout_s=10)


async def test_a_caller_that_waits_for_its_turn_may_be_cancelled(handle, gate):
    first = asyncio.ensure_future(handle.call(HostedObject.wait, gate, timeout_s=30))
    await in_call(handle, first)
    second = asyncio.ensure_future(handle.call(HostedObject.add, 1, timeout_s=30))
    await asyncio.sleep(0)
    second.cancel()
    gate.open()
    assert await first == "late"
    assert await handle.call(HostedObject.echo, timeout_s=10) == ()


@pytest.fixture
def _info(caplog):
    caplog.set_level("INFO", logger="guest")
    with listening_to_logs():
        yield


@pytest.mark.usefixtures("_info")
async def test_what_it_reports_is_told_before_the_result(executor):
    told = []
    one = await executor.start(HostedObject, name="one", timeout_s=30, on_notice=told.append)
    assert await one.call(HostedObject.tell, 1000, 2, timeout_s=30) == 1000
    assert [each for each in told if isinstance(each, ProgressNotice)][-1] == ProgressNotice(1000, 1000, "fitting")
    assert [each for each in told if isinstance(each, LogNotice)] == [
        LogNotice("info", "line 0", "guest"),
        LogNotice("info", "line 1", "guest"),
    ]
    assert len(told) < 100, "told each time"
    await one.close()


@pytest.mark.usefixtures("_info")
async def test_one_that_logs_in_a_tight_loop_does_not_flood(executor):
    told = []
    one = await executor.start(HostedObject, name="one", timeout_s=30, on_notice=told.append)
    assert await one.call(HostedObject.tell, 1, 20_000, timeout_s=60) == 1
    lines = [each for each in told if isinstance(each, LogNotice)]
    assert len(lines) < 10_000
    assert lines[-1] == LogNotice("info", "line 19999", "guest")
    assert any("were left out" in each.message for each in lines)
    await one.close()


async def test_objects_have_a_home_each(executor):
    one = await executor.start(HostedObject, name="one", timeout_s=30)
    other = await executor.start(HostedObject, name="other", timeout_s=30)
    assert await one.call(HostedObject.add, 1, timeout_s=10) == 1
    assert await other.call(HostedObject.add, 2, timeout_s=10) == 2
    await one.close()
    assert await other.call(HostedObject.add, 2, timeout_s=10) == 4
    await other.close()


async def test_closing_twice_does_no_harm(executor):
    one = await executor.start(HostedObject, name="one", timeout_s=30)
    await one.close()
    await one.close()
    with pytest.raises(AgentFault):
        await one.call(HostedObject.add, 1, timeout_s=10)
    await executor.close()
    await executor.close()


async def test_each_call_is_timed_a_failed_one_too(handle, timed):
    await handle.call(HostedObject.add, 1, timeout_s=10)
    with pytest.raises(AgentFault):
        await handle.call(HostedObject.fail, timeout_s=10)
    assert [call for call, _ in timed] == ["add", "fail"], "to be built is no call"
    assert all(seconds > 0 for _, seconds in timed)


async def test_only_what_makes_it_need_pickle_where_the_executor_says_so(executor):
    lock = threading.Lock()

    def build():
        assert not lock.locked()
        return HostedObject()

    if executor.needs_pickle:
        with pytest.raises(AgentFault, match="does not pickle"):
            await executor.start(build, name="one", timeout_s=30)
    else:
        await (await executor.start(build, name="one", timeout_s=30)).close()


async def test_where_it_is_isolated_it_lives_in_another_process(executor, handle):
    assert (await handle.call(HostedObject.process, timeout_s=10) != os.getpid()) is executor.isolated
