"""One Jupyter server and one browser for the tests of a module."""

import pytest


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory):
    """A Jupyter server; it shows a notebook in JupyterLab, Notebook 7 and Voila."""
    import lab

    with lab.jupyter(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    """Chromium. A module with it has no async tests: Playwright keeps this thread's event loop."""
    import lab

    with lab.chromium() as one:
        yield one
