"""The event loop of an agent: made when it is needed, alive between calls, closed at the end."""

import asyncio
import concurrent.futures
import gc
import logging
import threading

import pytest

from agent_service.brains.coroutines import Coroutines, awaited, called


@pytest.fixture
def coroutines():
    one = Coroutines()
    with one.serving():
        yield one


async def loop_of():
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


class Later:
    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return 3


def test_what_is_no_coroutine_is_left_as_it_is(coroutines):
    assert awaited(3) == 3
    assert coroutines.rest(until=lambda: True) is False, "there is no loop, for nothing needed one"


def test_whatever_can_be_awaited_is(coroutines):
    done = concurrent.futures.Future()
    done.set_result(3)
    assert [awaited(one) for one in (Later(), asyncio.sleep(0, 3), done)] == [3, 3, 3]
    assert awaited(loop_of()) is awaited(loop_of())


def test_nobody_hosts_it():
    first = awaited(loop_of())
    assert first.is_closed()


def test_an_ordinary_call_may_run_a_loop_of_its_own(coroutines):
    own = awaited(loop_of())
    assert asyncio.run(loop_of()) is not own
    assert awaited(loop_of()) is own


def test_it_is_cancelled_from_another_thread(coroutines):
    begun = threading.Event()

    async def never():
        begun.set()
        await asyncio.Event().wait()

    helper = threading.Thread(target=lambda: begun.wait(10) and coroutines.give_up())
    helper.start()
    with pytest.raises(asyncio.CancelledError):
        awaited(never())
    helper.join()
    with pytest.raises(asyncio.CancelledError):
        awaited(never())  # and so is all that comes after


def test_it_rests_until_it_is_woken_and_its_tasks_go_on(coroutines):
    turns = []

    async def begin():
        async def go_on():
            while len(turns) < 5:
                await asyncio.sleep(0)
                turns.append(1)
            coroutines.wake()

        return asyncio.create_task(go_on())

    task = awaited(begin())
    assert coroutines.rest(until=lambda: False)
    assert task.done()
    assert len(turns) == 5


def test_a_task_that_exits_between_calls_is_logged_and_ends_nothing(coroutines, caplog):
    async def begin():
        async def leave():
            for _ in range(5):  # until the call is over
                await asyncio.sleep(0)
            try:
                raise SystemExit(3)
            finally:
                asyncio.get_running_loop().call_soon(coroutines.wake)

        return asyncio.create_task(leave())

    task = awaited(begin())
    with caplog.at_level(logging.ERROR):
        assert coroutines.rest(until=lambda: False)
    assert "SystemExit: 3" in caplog.text
    assert awaited(asyncio.sleep(0, 3)) == 3
    with pytest.raises(SystemExit):
        task.result()


def test_it_ends_with_the_agent():
    one, said = Coroutines(), []

    async def numbers():
        try:
            yield 1
        finally:
            said.append("generator")

    async def begin():
        async def never():
            try:
                await asyncio.Event().wait()
            finally:
                said.append("task")

        said.append(asyncio.create_task(never()))
        said.append(numbers())
        await anext(said[1])
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    with one.serving():
        loop = awaited(begin())
    assert loop.is_closed()
    assert said[2:] == ["task", "generator"]
    one.wake()
    one.give_up()
    gc.collect()


def test_a_generator_is_refused(coroutines):
    def ordinary():
        yield 1

    async def asynchronous():
        yield 1

    for function in (ordinary, asynchronous):
        with pytest.raises(TypeError, match="ingest has a yield in it"):
            called(function, of="ingest")
