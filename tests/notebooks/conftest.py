"""One Jupyter server, one browser and one service elsewhere for the tests of a module."""

import functools
import os
import pathlib

import pytest


@pytest.fixture(scope="module")
def jupyter(request, tmp_path_factory):
    """A Jupyter server; it shows a notebook in JupyterLab, Notebook 7 and Voila. A module may have a ``BASE_URL``."""
    import lab

    base_url = getattr(request.module, "BASE_URL", "/")
    with lab.jupyter(tmp_path_factory.mktemp("jupyter"), base_url) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    """Chromium. A module with it has no async tests: Playwright keeps this thread's event loop."""
    import lab

    with lab.chromium() as one:
        yield one


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """A service in a process of its own, which a test may kill."""
    from remote import Process

    process = Process(tmp_path_factory.mktemp("serve"))
    try:
        process.start()
        yield process
    finally:
        process.end()


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """The state directory of the module's service."""
    return tmp_path_factory.mktemp("notebooks") / "state"


@pytest.fixture(scope="module")
def served(state):
    """A service in this process, for the tests of a module."""
    from services import running

    with running(state) as one:
        yield one


@pytest.fixture(scope="module")
def client(served):
    """A client of the module's service."""
    from agent_service import Client

    with Client(served.url, api_key=served.server.api_key) as one:
        yield one


@pytest.fixture
def opened(browser, served):
    """Opens the page of the module's service in the browser; see `pages.opened`."""
    import pages

    return functools.partial(pages.opened, browser, served.url)


# kernels import the tests' own modules, as `rig`, by name
_SUPPORT = str(pathlib.Path(__file__).parents[1] / "support")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_SUPPORT, os.environ.get("PYTHONPATH")]))
