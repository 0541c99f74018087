"""What an agent's code tells from inside a call, and how it is passed on."""

import asyncio
import contextvars
import functools
import logging
import math
import threading

import numpy as np
import pytest

from agent_service import progress
from agent_service.executors import notices
from agent_service.executors.notices import (
    MAX_LINES,
    MAX_MESSAGE,
    Delivery,
    NoticeBuffer,
    listening_to_logs,
    pause_after,
    reporting,
)
from agent_service.executors.thread import ThreadExecutor
from agent_service.protocols import LogNotice, ProgressNotice

log = logging.getLogger("some.agent")


def told(function):
    found = []
    with listening_to_logs(), reporting(found.append):
        function()
    return found


def test_outside_a_call_nothing_happens():
    progress(1, 2, "nobody listens")
    with reporting(None):
        progress(1)


def test_progress_is_told_with_plain_numbers():
    found = told(lambda: (progress(1, 4, "fitting"), progress(np.float64(0.5), np.int64(2)), progress(3)))
    assert found == [ProgressNotice(1, 4, "fitting"), ProgressNotice(0.5, 2), ProgressNotice(3)]
    assert [type(one.done) for one in found] == [int, float, int]


def test_what_is_not_finite_is_not_told():
    assert told(lambda: (progress(math.nan), progress(1, math.inf))) == [ProgressNotice(1)]


def test_blocks_nest_and_end():
    outer, inner = [], []
    with reporting(outer.append):
        with reporting(inner.append):
            progress(1)
        progress(2)
    progress(3)
    assert (outer, inner) == ([ProgressNotice(2)], [ProgressNotice(1)])


def test_a_thread_that_copies_the_context_is_heard_and_another_is_not():
    found = []
    with reporting(found.append):
        context = contextvars.copy_context()
        for target in (lambda: context.run(progress, 1), lambda: progress(2)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert found == [ProgressNotice(1)]


def test_log_lines_are_told_and_levels_count():
    def speak():
        log.debug("unheard: the root logger's level is WARNING")
        log.warning("at %d K", 4)
        try:
            raise ValueError("no beam")  # noqa: TRY301 - it is logged
        except ValueError:
            log.exception("it failed")

    assert told(speak) == [
        LogNotice("warning", "at 4 K", "some.agent"),
        LogNotice("error", "it failed (ValueError: no beam)", "some.agent"),
    ]


def test_a_line_that_cannot_be_made_is_told_all_the_same(monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    [found] = told(lambda: log.warning("%d", "x"))
    assert found.message == "%d (TypeError in its arguments)"


def test_a_message_is_cut_and_fit_for_utf8():
    [cut, other] = told(lambda: (log.warning("x" * 9999), progress(1, None, "\udc80")))
    assert len(cut.message) == MAX_MESSAGE
    assert other.message == "\\udc80"


def test_a_listener_that_logs_does_not_hear_itself():
    heard = []

    def tell(notice):
        heard.append(notice)
        log.warning("I heard %s", notice)

    with listening_to_logs(), reporting(tell):
        log.warning("once")
    assert len(heard) == 1


def test_two_listeners_tell_a_line_once_and_the_last_restores_logging(caplog):
    before = logging.getLogRecordFactory()
    found = []
    with listening_to_logs():
        with listening_to_logs(), reporting(found.append):
            log.warning("once")
        assert logging.getLogRecordFactory() != before
    assert len(found) == 1
    assert logging.getLogRecordFactory() == before
    assert [one.getMessage() for one in caplog.records] == ["once"]


def test_logging_goes_on_when_somebody_put_a_factory_over_ours():
    first = logging.getLogRecordFactory()
    try:
        with listening_to_logs():
            ours = logging.getLogRecordFactory()
            logging.setLogRecordFactory(functools.partial(ours))
        found = told(lambda: log.warning("still"))
        assert [one.message for one in found] == ["still"]
        with reporting(found.append):
            log.warning("nobody listens")
        assert len(found) == 1
    finally:
        logging.setLogRecordFactory(ours)
        with listening_to_logs():
            pass
    assert logging.getLogRecordFactory() == first


def test_a_buffer_keeps_the_last_progress_and_the_newest_lines():
    buffer = NoticeBuffer()
    assert buffer.put(ProgressNotice(0))
    assert not buffer.put(ProgressNotice(1))
    for n in range(MAX_LINES + 5):
        assert not buffer.put(LogNotice("info", str(n)))
    found = buffer.pop_all()
    assert found[0].message.startswith("5 lines were left out")
    assert [one.message for one in found[1:-1]] == [str(n) for n in range(5, MAX_LINES + 5)]
    assert found[-1] == ProgressNotice(1)
    assert buffer.pop_all() == []
    assert buffer.put(ProgressNotice(2))


def test_many_lines_are_followed_by_a_longer_pause():
    assert pause_after([ProgressNotice(1)]) == notices.INTERVAL_S
    assert pause_after([LogNotice("info", "")] * 100) == pytest.approx(10 * notices.INTERVAL_S)


async def test_a_tight_loop_is_coalesced_and_the_last_arrives_before_the_result():
    class Guest:
        def count(self, to):
            for n in range(to):
                progress(n + 1, to)
            return to

    found = []
    handle = await ThreadExecutor().start(Guest, name="guest", timeout_s=10, on_notice=found.append)
    assert await handle.call(Guest.count, 50_000, timeout_s=60) == 50_000
    assert found[-1] == ProgressNotice(50_000, 50_000)
    assert len(found) < 500
    assert [one.done for one in found] == sorted(one.done for one in found)
    await handle.close()


async def test_the_last_arrives_during_a_long_call():
    gate = threading.Event()

    class Guest:
        def wait(self):
            progress(1)
            progress(2)
            gate.wait(30)

    heard = asyncio.Queue()
    handle = await ThreadExecutor().start(Guest, name="guest", timeout_s=10, on_notice=heard.put_nowait)
    call = asyncio.ensure_future(handle.call(Guest.wait, timeout_s=30))
    while (await asyncio.wait_for(heard.get(), 10)) != ProgressNotice(2):
        pass
    assert not call.done()
    gate.set()
    await call
    await handle.close()


async def test_an_abandoned_call_is_not_heard_any_more():
    gate, over = threading.Event(), threading.Event()

    class Guest:
        def wait(self):
            gate.wait(30)
            progress(1)
            over.set()

    heard = []
    handle = await ThreadExecutor().start(Guest, name="guest", timeout_s=10, on_notice=heard.append)
    call = asyncio.ensure_future(handle.call(Guest.wait, timeout_s=30))
    while handle.busy is None:
        await asyncio.sleep(0)
    await handle.close()
    await asyncio.gather(call, return_exceptions=True)
    gate.set()
    await asyncio.to_thread(over.wait, 10)
    for _ in range(10):
        await asyncio.sleep(0)
    assert heard == []


async def test_what_the_service_logs_while_telling_is_not_the_agents():
    heard = []

    def tell(notice):
        heard.append(notice)
        log.warning("the service noted %s", notice)

    with listening_to_logs():
        delivery = Delivery(tell, loop=asyncio.get_running_loop())
        with reporting(delivery.put):
            progress(1)
        while not heard:
            await asyncio.sleep(0.001)
        delivery.flush()
    assert heard == [ProgressNotice(1)]
