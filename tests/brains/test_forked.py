"""Agents in processes forked from one that has imported what their type needs: nobody imports that again.

Each import of a library is noted, with the process that it happened in, by a finder that forks inherit.
"""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import httpx
import pytest
from families import ax
from service_process import Process
from services import wait_until

from agent_service.journal import reader

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]
WITHIN_S = 120.0
MOST_CPU_S = 3.0  # until a thousand points are back
NOTES_IMPORTS = """
import os, sys
from importlib.machinery import PathFinder

NOTED = {"ax", "torch", "xopt", "optuna", "gpcam", "baybe", "bofire", "skopt", "cma", "pandas"}

class Noting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name, path) if name in NOTED else None
        if spec is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: Noting.note(name) or execute(module)
        return spec

    @staticmethod
    def note(name):
        with open(os.environ["IMPORTS"], "a") as file:
            file.write(f"{os.getpid()} {name}\\n")

sys.meta_path.insert(0, Noting)
"""
OF_ONES_OWN = '''
from ax.api.client import Client

class Own:
    """Draws the middle, and imports Ax for it."""

    def __init__(self):
        self.points = []

    def suggest(self, num_points=None):
        return [{"x": 0.0, "y": 0.0}]

    def ingest(self, points):
        self.points += points

    def report(self):
        return {"n_measured": len(self.points)}
'''
TYPES = {
    "ax": ("bluesky_adaptive.ax.optimizer:AxOptimizer", ax(), {"ax", "torch", "pandas"}),
    "xopt": ("xopt", {}, {"xopt", "torch", "pandas"}),
    "optuna": ("optuna", {}, {"optuna"}),
    "gpcam": ("gpcam", {}, {"gpcam"}),
    "baybe": ("baybe", {}, {"baybe", "torch", "pandas"}),
    "bofire": ("bofire", {}, {"bofire", "torch", "pandas"}),
    "skopt": ("skopt", {}, {"skopt"}),
    "cma": ("cma", {}, {"cma"}),
    "own": ("of_ones_own:Own", {}, {"ax", "torch", "pandas"}),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forked")
    (folder / "sitecustomize.py").write_text(NOTES_IMPORTS)
    (folder / "of_ones_own.py").write_text(OF_ONES_OWN)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(Path(__file__).parent))
        patched.setenv("IMPORTS", str(folder / "imports"))
        process = Process(folder, startup="beam", path=folder)
        try:
            with process.start(timeout_s=WITHIN_S) as client:
                client.folder, client.service_pid = folder, process.child.pid
                yield client
        finally:
            process.kill()


def imports(client):
    """Return how often each library was imported in which process."""
    lines = (client.folder / "imports").read_text().splitlines()
    return Counter((name, int(pid)) for pid, name in (line.split() for line in lines))


def process_of(agent):
    """Return the process of an agent, which has its name; None while there is none."""
    pids = [
        int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if _text(path).strip() == f"agent:{agent}"
    ]
    return max(pids, default=None)


def _text(path):
    try:
        return path.read_text()
    except OSError:  # it has just ended
        return ""


def stat(pid):
    return _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def cpu_s(pid):
    return sum(map(int, stat(pid)[11:13])) / os.sysconf("SC_CLK_TCK")


def metrics(client):
    key = (client.folder / "service.state" / "api_key").read_text().strip()
    return httpx.get(f"{client.url}/metrics", headers={"Authorization": f"Apikey {key}"}, timeout=WITHIN_S).text


def is_saved(client, name):
    """Whether its state is that of the last that it was told."""
    state = client.folder / "service.state"
    facts = reader(f"sqlite:///{state}/journal.db").read(agent=name, limit=10_000)
    told = [fact.seq for fact in facts if fact.kind == "ingest"]
    file = state / "brains" / name
    return file.exists() and json.loads(file.read_bytes().partition(b"\n")[0])["seq"] >= told[-1]


def is_back(client, name, pid):
    return client.agent(name).state == "paused" and process_of(name) not in (None, pid)


def begin(client, name, kind):
    type_, config, _ = TYPES[kind]
    client.create(
        name=name,
        type=type_,
        config=config,
        actuators=["x", "y"],
        sensors=["flux"],
        outcome="flux",
        space={"x": [-3, 3], "y": [-3, 3]},
        executor="process",
        on_fault="restart",
    )
    client.start(name, paused=True, wait_s=WITHIN_S)
    return process_of(name)


@pytest.mark.parametrize("kind", TYPES)
def test_the_second_of_a_type_imports_nothing_and_a_thousand_points_are_back_in_seconds(client, kind):
    name = f"{kind}-1"
    first = begin(client, name, kind)
    before = imports(client)
    second = begin(client, f"{kind}-2", kind)
    assert imports(client) == before
    server = int(stat(first)[1])
    assert int(stat(second)[1]) == server != client.service_pid
    of_these = {key: times for key, times in imports(client).items() if key[0] in TYPES[kind][2]}
    assert {name: of_these.get((name, server)) for name in TYPES[kind][2]} == dict.fromkeys(TYPES[kind][2], 1)
    others = {pid for _, pid in of_these} & {first, second, client.service_pid}
    assert not others, "also not to check it at its creation"
    for one, pid in ((name, first), (f"{kind}-2", second)):
        memory_mb = wait_until(lambda one=one: client.agent(one).memory_mb, within_s=WITHIN_S, what="its memory")
        resident_kb = int(_text(Path(f"/proc/{pid}/smaps_rollup")).partition("\nRss:")[2].split()[0])
        assert 1 < memory_mb < resident_kb / 1024, "what it shares with others counts in part"
        assert f'agent_service_agent_memory_bytes{{agent="{one}"}}' in metrics(client)
    client.ingest(f"{kind}-2", [{"x": 0.25 * i - 1.5, "y": i % 3 - 1.0, "flux": -abs(i - 5.0)} for i in range(12)])
    client.suggest(f"{kind}-2", wait_s=WITHIN_S)
    assert imports(client) == before, "nor when its model is fitted first"
    client.ingest(name, [{"x": -3 + i * 0.006, "y": i % 7 - 3.0, "flux": -abs(i - 500.0)} for i in range(1000)])
    known = client.report(name, wait_s=WITHIN_S).report
    wait_until(lambda: is_saved(client, name), within_s=WITHIN_S, what="its state")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: is_back(client, name, first), within_s=WITHIN_S, what="the agent")
    assert cpu_s(process_of(name)) <= MOST_CPU_S, "a thousand points are back"
    assert client.report(name, wait_s=WITHIN_S).report == known
    assert imports(client) == before
