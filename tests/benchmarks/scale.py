"""Large on one machine: a journal of a million facts, 10,000 agents, compaction, pages, and an agent's memory.

CPU seconds, not times: other work on the machine does not change them. `SCALE_PART=0.1` makes all of it smaller.
"""

import contextlib
import os
import sqlite3
import threading
import time
import tracemalloc
from pathlib import Path

import httpx

from tests.benchmarks import large_journal
from tests.benchmarks.servers import client, process

WANTED = (
    "1M facts and 10,000 agents ready in <= 20 CPU s and <= 1 GB; no read over 100 ms during compaction; a page of 10 "
    "agents as quick beside 10,000 as beside 3; the memory of an agent whose suggestions are decided does not grow"
)
PART = float(os.environ.get("SCALE_PART", "1"))
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    """Return the CPU seconds of a process so far, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def memory_mb(pid, what="VmHWM"):
    """Return the most memory that a process had so far, or with ``what="VmRSS"`` has now, in MB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def _config(folder, *, keep_facts):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "service.toml"
    file.write_text(
        f'[service]\ncatalog = "none"\nkeep_facts = {keep_facts}\n[run_engine]\nstartup = "rig"\nprocess = true\n'
    )
    (folder / "service.state").mkdir(mode=0o700, exist_ok=True)
    return file, folder / "service.state"


class _Ready:
    """A service, from its start until it is ready."""

    def __init__(self, folder, *, keep_facts):
        self._file, self.state = _config(folder, keep_facts=keep_facts)

    def __enter__(self):
        self._running = process("-m", "agent_service", "serve", str(self._file), "--port", "0")
        child = self._running.__enter__()
        self.pid = child.pid
        line = next(line for line in child.stdout if line.startswith("Serving at "))
        self.port = int(line.rsplit(":", 1)[1])
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120) as http:
            while http.get("/readyz").status_code != 200:
                time.sleep(0.05)
        self.cpu_s, self.memory_mb = cpu_s(self.pid), memory_mb(self.pid)
        self.key = (self.state / "api_key").read_text().strip()
        return self

    def __exit__(self, *error):
        self._running.__exit__(*error)

    def page_ms(self, *, limit=10):
        """Return the CPU of the service for a page of the list, in ms."""
        before = 0.0
        while cpu_s(self.pid) - before > 0.05:  # what follows the start is still done
            before = cpu_s(self.pid)
            time.sleep(1)
        with client(self.port, self.key) as http:
            http.get("/agents", params={"limit": limit}).raise_for_status()
            before = cpu_s(self.pid)
            for _ in range(200):
                assert http.get("/agents", params={"limit": limit}).json()["items"]
            return (cpu_s(self.pid) - before) / 200 * 1e3


def _many(folder):
    agents, points = max(3, int(10_000 * PART)), 14
    _, state = _config(folder / "many", keep_facts=10_000_000)
    count = large_journal.write(state / "journal.db", agents=agents, points=points)
    keep = int(count * 9)
    with _Ready(folder / "many", keep_facts=keep) as many:
        yield f"{count:,} facts, {agents:,} agents: ready after {many.cpu_s:.1f} CPU s, {many.memory_mb:.0f} MB at most"
        beside_many = many.page_ms()
        _snapshot(state)
    with _Ready(folder / "many", keep_facts=keep) as again:
        yield f"the same with a snapshot: ready after {again.cpu_s:.1f} CPU s, {again.memory_mb:.0f} MB at most"
    _, state = _config(folder / "few", keep_facts=10_000_000)
    large_journal.write(state / "journal.db", agents=3, points=points)
    with _Ready(folder / "few", keep_facts=10_000_000) as few:
        yield f"a page of 10 agents: {beside_many:.2f} ms of CPU; of 3 where there are 3: {few.page_ms():.2f} ms"
        yield f"the start without a journal: {few.cpu_s:.1f} CPU s, {few.memory_mb:.0f} MB"


def _snapshot(state):
    """Wait until all that was written is in a snapshot."""
    with contextlib.closing(sqlite3.connect(f"file:{state}/journal.db?mode=ro", uri=True)) as journal:
        while not journal.execute("SELECT seq FROM snapshots").fetchone():
            time.sleep(1)


def _decided(_folder):
    """Count the objects of an agent's record: fewer or more than before, whatever time it takes."""
    before, suggestions = 0, int(20_000 * PART)
    for decided in (suggestions, 2 * suggestions):
        tracemalloc.start()
        record = large_journal.folded(decided)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        counts = next(iter(record.agents.values())).counts()
        more = f"{taken / 1e6:.1f} MB, {(taken - before) / 1e6:+.1f}"
        yield f"an agent with {counts.ingested:,} decided suggestions: {more}"
        before = taken


def _compaction(folder):
    agents, points = 100, int(430 * PART) or 1
    _, state = _config(folder, keep_facts=1000)
    count = large_journal.write(state / "journal.db", agents=agents, points=points)
    with _Ready(folder, keep_facts=1000) as service, client(service.port, service.key) as http:
        found, over = [], threading.Event()

        def read():
            while not over.is_set():
                began = time.perf_counter()
                http.get("/agents/a00001").raise_for_status()
                found.append(time.perf_counter() - began)
                time.sleep(0.005)

        reader = threading.Thread(target=read)
        reader.start()
        with contextlib.closing(sqlite3.connect(f"file:{state}/journal.db?mode=ro", uri=True)) as journal:
            while journal.execute("SELECT min(seq) FROM facts").fetchone()[0] < count - 2000:
                time.sleep(0.1)
        time.sleep(2)  # what is in memory is forgotten after that
        over.set()
        reader.join()
    yield f"compaction of {count:,} facts: the longest of {len(found)} reads {max(found) * 1e3:.0f} ms"


def measure(folder):
    """Yield lines to print."""
    yield from _many(folder)
    yield from _compaction(folder / "compaction")
    yield from _decided(folder)
