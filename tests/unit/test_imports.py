"""Modules are imported one at a time in a process, for of two at once one may find the other's half there."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent_service import references

SHARED = {
    "meeting.py": "import threading\ninner_begins = threading.Event()\n",
    # as SciPy's statistics, which two libraries import from different ends
    "shared/__init__.py": "import meeting\nmeeting.inner_begins.wait(0.5)\nfrom shared.inner import number\n",
    "shared/inner.py": "import meeting\nmeeting.inner_begins.set()\nimport shared\nnumber = 1\n",
}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir()
    for name, source in SHARED.items():
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("meeting", "shared", "endless")]:
        del sys.modules[name]


def test_two_threads_import_what_both_need(modules):
    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            outer, inner = pool.map(references.module, ["shared", "shared.inner"])
        assert (outer.number, inner.number) == (1, 1)
        for name in ("meeting", "shared", "shared.inner"):
            del sys.modules[name]


def test_one_that_never_ends_holds_up_no_other_for_ever(modules, monkeypatch):
    monkeypatch.setattr(references, "_AT_MOST_S", 0.1)
    (modules / "endless.py").write_text("import meeting\nmeeting.end.wait()\n")
    meeting = references.module("meeting")
    meeting.end = threading.Event()
    thread = threading.Thread(target=references.module, args=["endless"])
    thread.start()
    try:
        while "endless" not in sys.modules:
            time.sleep(0.01)
        meeting.inner_begins.set()
        assert references.module("shared").number == 1
    finally:
        meeting.end.set()
        thread.join()


def test_a_module_that_imports_another_by_name_finds_it(modules):
    (modules / "endless.py").write_text(
        "from agent_service import references\nnumber = references.imported('shared:number')\n"
    )
    assert references.imported("endless:number") == 1
