"""What every test may use: real services on loopback, and a check that a test leaves no thread behind."""

import contextlib
import os
import sys
import threading
import time

import pytest
from service_process import Process
from services import running

from agent_service.plans.sinks import bluesky_loop


def pytest_configure():
    # many a test ends a service with a plan or a call under way that never ends
    os.environ.setdefault("AGENT_SERVICE_SERVICE__GRACE_S", "1")


@pytest.fixture
def start(tmp_path):
    """Start services that end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda state=None, **sections: stack.enter_context(running(state or tmp_path / "state", **sections))


@pytest.fixture
def process(tmp_path):
    """A service in a process of its own that ends with the test, however that ends."""
    one = Process(tmp_path)
    yield one
    if one.child is not None and one.child.poll() is None:
        one.child.kill()
        one.child.communicate()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One service for all tests of a module; each uses agents of its own names."""
    with running(tmp_path_factory.mktemp("state")) as one:
        yield one


def _stays(thread):
    """Return whether it is of a loop that stays, for devices of a startup may be connected on it."""
    made_by = f"{type(thread).__module__} {getattr(getattr(thread, '_target', None), '__module__', '')}"
    if "caproto" in made_by or thread.name == "debug_monitor":  # ophyd's connections to EPICS, made once in a process
        return True
    engine = sys.modules.get("bluesky.run_engine")
    return engine and thread in [engine._ensure_event_loop_running.loop_to_thread.get(one) for one in bluesky_loop.kept]


@pytest.fixture(autouse=True)
def _no_thread_left(request):
    if "served" in request.fixturenames:  # its agents live on until the module ends
        yield
        return
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5

    def left():
        return [
            one
            for one in threading.enumerate()
            if one not in before
            and one.is_alive()
            and not _stays(one)
            and not one.name.startswith(("AnyIO", "asyncio_"))
        ]

    while left() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left(), "a test left threads behind"
