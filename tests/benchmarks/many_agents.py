"""A thousand idle agents in threads: memory each, a page of the list, and what one request costs beside them."""

import asyncio
import statistics
import time
from pathlib import Path

from tests.benchmarks.reads import SPEC
from tests.benchmarks.servers import Requests, client, service

WANTED = "the cost of a request independent of their number: ratio about 1"

N = 1000


def _memory(child):
    """Return a process's own memory in kB: what no other shares."""
    lines = Path(f"/proc/{child.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def _page_ms(http):
    began = time.perf_counter()
    assert len(http.get("/agents", params={"limit": 100}).json()["items"]) == min(100, N)
    return (time.perf_counter() - began) * 1e3


def measure(folder):
    """Return lines to print."""
    with service(folder / "service") as (port, key, child), client(port, key) as http:

        def add(first, last):
            for n in range(first, last):
                http.post("/agents", json={**SPEC, "name": f"a{n:04}"}).raise_for_status()
                http.post(f"/agents/a{n:04}/start", params={"paused": True}).raise_for_status()

        def rate():
            asked = Requests(port, "/api/v1/agents/a0000", headers=[("Authorization", f"Apikey {key}")])
            return statistics.median(asyncio.run(asked.per_second(seconds=1)) for _ in range(3))

        add(0, 100)
        few, memory, page = rate(), _memory(child), statistics.median(_page_ms(http) for _ in range(5))
        add(100, N)
        many, grown = rate(), _memory(child) - memory
        pages = statistics.median(_page_ms(http) for _ in range(5))
    return [
        f"{N} idle agents     {grown / (N - 100):6.0f} kB each; a page of 100: {pages:.1f} ms ({page:.1f} ms with 100)",
        f"    status reads      {many:8.0f} /s   with 100 agents    {few:8.0f} /s   ratio {many / few:.2f}",
    ]
