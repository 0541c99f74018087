"""What tests of the spool and the archive share: real runs, a reader in another process, a journal filled by hand."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from bluesky import RunEngine
from bluesky.plans import list_scan
from ophyd.sim import det, motor

from agent_service.models import AgentSpec, EventKind

READER = """
import json, sys
from databroker.queries import Key
from agent_service import open_catalog
where, questions = sys.argv[1], json.loads(sys.argv[2])
runs = open_catalog(where)
agents = open_catalog(where, path="agents")
print(json.dumps([eval(question) for question in questions], default=str))
"""


@contextlib.contextmanager
def run_engine(**md):
    """A RunEngine whose thread ends with the block."""
    engine = RunEngine(md, context_managers=[])
    try:
        yield engine
    finally:
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join(5)
        engine.loop.close()


def measure(write, count, *, points=1, **md):
    """Make real runs, hand their documents to ``write``, and return their uids."""
    uids = []
    with run_engine(**md) as engine:
        for i in range(count):
            uids += engine(list_scan([det], motor, [i + 0.1 * k for k in range(points)]), write)
    return uids


def ask(where, *questions):
    """Evaluate each question in another process, with databroker's ``runs`` and ``agents``, and return the answers."""
    command = [sys.executable, "-c", READER, str(where), json.dumps(questions)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ANSWERS = """
import json, sys, warnings
from agent_service import open_catalog
warnings.simplefilter("ignore")
for line in sys.stdin:
    where, questions = json.loads(line)
    names = {"runs": open_catalog(where), "agents": open_catalog(where, path="agents")}
    print(json.dumps([eval(question, names) for question in questions], default=str), flush=True)
"""


class Reader:
    """Another process that reads catalogues; as `ask`, but it imports databroker once."""

    def __init__(self):
        command = [sys.executable, "-c", ANSWERS]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def ask(self, where, *questions):
        print(json.dumps([str(where), questions]), file=self._process.stdin, flush=True)
        return json.loads(await asyncio.to_thread(self._process.stdout.readline))

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


class Decisions:
    """Writes to a journal what a service would."""

    def __init__(self, journal):
        self.journal = journal

    async def session(self, uid):
        await self.journal.append(EventKind.SERVICE_STATE, None, {"state": "started", "session": uid})

    async def end(self, uid):
        await self.journal.append(EventKind.SERVICE_STATE, None, {"state": "stopped", "session": uid})

    async def create(self, name, **spec):
        spec = AgentSpec(**{"name": name, "type": "sobol", "actuators": ["motor"], "outcome": "det", **spec})
        data = {"state": "created", "spec": spec.model_dump(mode="json")}
        await self.journal.append(EventKind.AGENT_STATE, name, data)

    async def without_points(self, name, count):
        """Suggestions that somebody approved, without a point in the fact."""
        for i in range(count):
            self.journal.post(EventKind.SUGGESTION_STATE, name, {"id": f"n{i}", "state": "approved"})

    async def step(self, name, uid, run_uid, x=0.0):
        """One turn of the loop: a suggestion's states and its ingest."""
        point = {"motor": x}
        await self.journal.append(EventKind.SUGGESTION_STATE, name, {"id": uid, "state": "proposed", "point": point})
        await self.journal.append(EventKind.SUGGESTION_STATE, name, {"id": uid, "state": "running", "run_uid": run_uid})
        points = [{"motor": x, "det": 2, "_id": uid}]
        await self.journal.append(EventKind.INGEST, name, {"points": points, "run_uids": [run_uid]})


def alive(pid):
    """Whether a process runs: a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def descriptors():
    """What this process has open, by what it leads to."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the listing's own descriptor is gone when it is looked at
        with contextlib.suppress(OSError):
            found.append(str(Path("/proc/self/fd", name).readlink()))
    return sorted(found)
