"""A lock in the order of asking, which no request waits for while the journal cannot be written."""

import asyncio
import contextvars

import pytest

from agent_service import context
from agent_service.agents.call_lock import FairLock
from agent_service.errors import BackendUnavailable


@pytest.fixture
def lock():
    return FairLock()


@pytest.fixture
async def held(lock):
    """The lock is held until the event is set."""
    release, taken = asyncio.Event(), asyncio.Event()

    async def hold():
        async with lock:
            taken.set()
            await release.wait()

    task = asyncio.create_task(hold())
    await taken.wait()
    yield release
    release.set()
    await task


def asking(lock, order, name, *, patient=False):
    async def ask():
        async with lock:
            order.append(name)

    surroundings = contextvars.copy_context()
    if patient:
        surroundings.run(context.enter_background)
    return asyncio.create_task(ask(), context=surroundings)


async def test_it_is_taken_in_the_order_of_asking(lock, held):
    order = []
    tasks = [asking(lock, order, n, patient=n % 2 == 0) for n in range(5)]
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(*tasks)
    assert order == list(range(5))


async def test_requests_are_refused_and_the_service_itself_waits(lock, held):
    order = []
    waiting = [asking(lock, order, "request"), asking(lock, order, "service", patient=True)]
    await asyncio.sleep(0)
    lock.refuse_requests("the disk is full")
    late = asking(lock, order, "late request")
    for one in (waiting[0], late):
        with pytest.raises(BackendUnavailable, match="the disk is full; nothing was acknowledged"):
            await one
    lock.refuse_requests(None)
    again = asking(lock, order, "again")
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(waiting[1], again)
    assert order == ["service", "again"]


async def test_nobody_waits_for_a_free_one(lock):
    lock.refuse_requests("the disk is full")
    async with lock:
        pass


async def test_who_is_cancelled_is_out_of_the_queue(lock, held):
    order = []
    first, second = asking(lock, order, "first"), asking(lock, order, "second")
    await asyncio.sleep(0)
    first.cancel()
    held.set()
    await asyncio.gather(first, second, return_exceptions=True)
    assert first.cancelled()
    assert order == ["second"]


async def test_who_is_cancelled_as_it_is_granted_gives_it_on(lock):
    order = []
    await lock.__aenter__()
    first, second = asking(lock, order, "first"), asking(lock, order, "second")
    await asyncio.sleep(0)
    lock.release()  # to the first, which has not run since
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert first.cancelled()
    assert order == ["second"]
