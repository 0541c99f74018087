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


def pytest_addoption(parser):
    parser.addoption(
        "--short", action="store_true", help="what .ci/run has time for: all but what is slow and rarely red"
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--short"):
        left_out = [one for one in items if one.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [one for one in items if one not in left_out]


def pytest_collection_finish(session):
    if session.config.getoption("--short") and not session.config.option.file_or_dir:
        few = 1000
        if len(session.items) < few and not (session.config.option.keyword or session.config.option.lf):
            pytest.exit(f"only {len(session.items)} tests are left by --short: something leaves out too much", 1)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: slow and rarely red; `make test` runs it, and .ci/run does not")
    # many a test ends a service with a plan or a call under way that never ends
    os.environ.setdefault("AGENT_SERVICE_SERVICE__GRACE_S", "1")
    # of a service that is killed and does not come back
    os.environ.setdefault("AGENT_SERVICE_RUN_ENGINE__WAITS_S", "20")


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
    one.kill()


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


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server for all tests of a session; each asks it for a database of its own."""
    from postgres_server import PostgresServer

    with contextlib.closing(PostgresServer()) as one:
        yield one


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
            and not one.name.startswith(("AnyIO", "asyncio_", "uvloop_", "Dask-Offload"))
        ]

    while left() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left(), "a test left threads behind"
