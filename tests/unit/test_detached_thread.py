"""A daemon thread that calls functions one after the other, and is left behind by one that hangs."""

import threading

import pytest

from agent_service.executors.detached import DetachedThread


@pytest.fixture
def thread():
    made = DetachedThread("asking")
    yield made
    last = made.begin(threading.current_thread).result(10)
    made._calls.put(None)
    last.join(10)


def test_functions_are_called_in_one_thread_and_what_they_raise_is_told(thread) -> None:
    first, second = (thread.begin(threading.get_ident).result(10) for _ in range(2))
    assert first == second != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        thread.begin(lambda: 1 / 0).result(10)
    assert thread.begin(threading.get_ident).result(10) == first


def test_one_that_hangs_keeps_its_thread_which_ends_with_it_and_the_next_gets_another(thread) -> None:
    goes_on = threading.Event()
    hanging = thread.begin(lambda: goes_on.wait(60) and threading.current_thread())
    other = thread.begin(threading.current_thread).result(10)
    assert not hanging.done()
    assert thread.begin(threading.current_thread).result(10) is other
    goes_on.set()
    first = hanging.result(10)
    first.join(10)
    assert not first.is_alive()
    assert other.is_alive()
