"""A kernel that serves, closes and serves again leaves nothing behind; nor does one that is killed while it serves."""

import collections
import contextlib
import json
import os
import pathlib
import signal
import time

import kernels
import pytest
from services import wait_until

CYCLES = 20
CENSUS = """
import gc, glob, json, os, threading

def children():
    return sorted(int(one) for path in glob.glob("/proc/self/task/*/children") for one in open(path).read().split())

def census():
    gc.collect()
    return {
        "threads": sorted(one.name for one in threading.enumerate()),
        "descriptors": sorted(os.readlink(f"/proc/self/fd/{fd}").partition(":")[0] for fd in os.listdir("/proc/self/fd")
                              if os.path.exists(f"/proc/self/fd/{fd}") or os.path.islink(f"/proc/self/fd/{fd}")),
        "children": [str(one) for one in children()],
        "temporary": sorted(os.listdir(os.environ["TMPDIR"])),
    }
"""
CYCLE = """
import agent_service
from notebook_widgets import AgentPanel, ServicePanel

def cycle():
    walker = {"type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
    service = agent_service.serve({"walker": walker}, startup="rig", catalog="none", state=HERE / "state", fresh=True)
    panels = [AgentPanel(service, "walker"), ServicePanel(service)]
    assert panels[0].ask("POST", "agents/walker/start").result(30)
    assert panels[0].ask("POST", "agents/walker/stop").result(30)
    for panel in panels:
        panel.close()
    service.close()
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with kernels.kernel(tmp_path) as running:
        running.run(f"import pathlib\nHERE = pathlib.Path({str(tmp_path)!r})\n{CENSUS}")
        yield running


def census(kernel):
    return {key: collections.Counter(there) for key, there in json.loads(kernel.value("json.dumps(census())")).items()}


@pytest.mark.long
def test_twenty_services_with_panels_leave_nothing(kernel, tmp_path):
    kernel.run(CYCLE)
    kernel.run("cycle()")  # what is made once, as a library's own thread, is made now
    before, files = census(kernel), sorted(path.name for path in (tmp_path / "state").iterdir())
    for _ in range(CYCLES):
        kernel.run("cycle()")
    # ipykernel closes what it made for a thread that sent messages some seconds after its end
    deadline = time.monotonic() + 60
    while any((left := {key: there - before[key] for key, there in census(kernel).items()}).values()):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == files


@pytest.mark.long
def test_a_killed_kernel_leaves_no_child(kernel, tmp_path):
    """The archive child watches a pipe to its parent, so that even a kill ends it."""
    kernel.run("import agent_service\nservice = agent_service.serve(startup='rig', state=HERE / 'state')")
    archive = "service.client.service().archive.state"
    wait_until(lambda: kernel.value(archive) == "ready", within_s=120, what="the archive")
    family = descendants(json.loads(kernel.value("str(os.getpid())")))
    assert family, "the archive child"
    os.kill(json.loads(kernel.value("str(os.getpid())")), signal.SIGKILL)
    wait_until(lambda: not any(map(alive, family)), within_s=30, what=f"the end of {family}")


def descendants(pid):
    below = []
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            below += [child, *descendants(child)]
    return below


def alive(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
