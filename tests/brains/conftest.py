"""The lane of `make test-brains`: tests that need libraries of optimizers, and only run where these are.

Of each family the short form has one story, in a thread or in a process, and the page of the documentation.
"""

import importlib.util
import os
from pathlib import Path

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("ax") else ["test_*.py"]


pytest.register_assert_rewrite("story")


def pytest_configure():
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # their matrices are tiny: more threads wait for each other
    # botorch does without what it would compile, for half a minute in each process and each life of it; and a kill in
    # the middle of that would leave a lock in the user's cache, for which every later one waits for ever
    os.environ["CXX"] = "false"


def pytest_collection_modifyitems(config, items):
    from families import IN_A_PROCESS

    if config.getoption("--short", default=False):
        here = Path(__file__).parent  # it is asked about the items of all folders
        left_out = [one for one in items if here in one.path.parents and not _is_short(one, IN_A_PROCESS)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [one for one in items if one not in left_out]


def _is_short(item, in_a_process):
    where = getattr(item.module, "EXECUTOR", None)
    is_story = where is not None and (where == "process") == (_family(item) in in_a_process)
    return is_story or item.path.name == "test_documentation.py"


def _family(item):
    return item.callspec.params["family"]


@pytest.fixture(scope="module")
def stories(request, tmp_path_factory):
    """The stories of all families that are asked for, told in the module's executor."""
    from families import FAMILIES
    from story import Story, told

    executor = request.module.EXECUTOR
    folder = tmp_path_factory.mktemp(executor)
    asked = {_family(item) for item in request.session.items if item.module is request.module}
    stories = [Story(name, FAMILIES[name], executor, folder) for name in FAMILIES if name in asked]
    with told(stories, folder, Path(__file__).parent):
        yield {story.name: story for story in stories}
