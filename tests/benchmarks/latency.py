"""p99 of GET status and of a variable at 100 requests/s, timed from the schedule: idle, and beside two busy agents."""

import asyncio
import statistics

from tests.benchmarks.reads import PATHS, SPEC
from tests.benchmarks.servers import Requests, client, service

WANTED = "p99 beside busy process agents <= 1.5 x idle; threads for comparison"

SECONDS = 5.0


def _p99(port, key, path):
    asked = Requests(port, path, headers=[("Authorization", f"Apikey {key}")])
    found = asyncio.run(asked.latencies(seconds=SECONDS))
    return found[int(len(found) * 0.99)] * 1e3


def _busy(http, kind, n):
    """Start an agent whose brain computes for longer than is measured; False when there is no such executor."""
    spec = {**SPEC, "name": f"busy-{kind}-{n}", "type": "tests.benchmarks.brains:Spinner", "executor": kind}
    spec |= {"config": {"seconds": 2 * SECONDS + 10}, "loop": {"approval": "required"}, "timeouts": {"suggest": 120}}
    answer = http.post("/agents", json=spec)
    return answer.status_code == 201 and http.post(f"/agents/{spec['name']}/start").status_code < 300


def measure(folder, *, rounds=3):
    """Return lines to print."""
    found = {}
    for n in range(rounds):
        for kind in ("idle", "process", "thread"):
            with service(folder / f"{kind}{n}") as (port, key, _), client(port, key) as http:
                http.post("/agents", json=SPEC).raise_for_status()
                http.post("/agents/walker/start").raise_for_status()
                while http.get("/agents/walker").json()["state"] != "stopped":
                    pass
                if kind != "idle" and not (_busy(http, kind, 0) and _busy(http, kind, 1)):
                    continue
                for what, path in PATHS.items():
                    found.setdefault((what, kind), []).append(_p99(port, key, path))
    lines = []
    for (what, kind), times in found.items():
        p99, idle = statistics.median(times), statistics.median(found[what, "idle"])
        beside = "idle" if kind == "idle" else f"beside two busy {kind} agents"
        lines.append(f"{what:21} p99 {p99:6.1f} ms at 100 /s, {beside:34} ratio {p99 / idle:.2f}")
    return lines
