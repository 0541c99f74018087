"""Coming back with a journal of 10,000 facts, beyond the start of a service without any; and with half of them."""

import statistics
import time

from tests.benchmarks.reads import SPEC
from tests.benchmarks.servers import client, service

WANTED = "<= 2 s beyond the start, and in proportion to the facts"


def _fill(folder, facts):
    """Make a journal of as many facts: half are proposals, half outcomes of them."""
    with service(folder) as (port, key, _), client(port, key) as http:
        http.post("/agents", json=SPEC).raise_for_status()
        http.post("/agents/walker/start", params={"paused": True}).raise_for_status()
        for _ in range(facts // 200):
            told = http.post("/agents/walker/suggest", json={"n_points": 100}).raise_for_status().json()
            points = [{"_id": one["id"], "signal": 1.0} for one in told["suggestions"]]
            http.post("/agents/walker/ingest", json={"points": points}).raise_for_status()


def _ready(folder):
    """Return the time until the service is ready, and its agent paused as before."""
    began = time.perf_counter()
    with service(folder) as (port, key, _), client(port, key) as http:
        while (folder / "filled").exists() and http.get("/agents/walker").json()["state"] != "paused":
            time.sleep(0.005)
        return time.perf_counter() - began


def measure(folder, *, rounds=2):
    """Return lines to print."""
    times = {0: [], 5_000: [], 10_000: []}
    for facts in times:
        if facts:
            _fill(folder / str(facts), facts)
            (folder / str(facts) / "filled").touch()
    for _ in range(rounds):
        for facts, found in times.items():
            found.append(_ready(folder / str(facts)))
    empty, half, full = (statistics.median(found) for found in times.values())
    beyond, of_half = full - empty, half - empty
    return [
        f"recovery of 10,000 facts {beyond:6.2f} s beyond a start of {empty:.2f} s (5,000 facts: {of_half:.2f} s)",
    ]
