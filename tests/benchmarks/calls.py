"""suggest and ingest of a trivial agent, by executor, against a bare FastAPI POST route that returns the same JSON."""

import asyncio
import json
import statistics

from tests.benchmarks.reads import SPEC
from tests.benchmarks.servers import Requests, bare, client, service

WANTED = "ratio <= 2.5"

BODIES = {"suggest": {"n_points": 1}, "ingest": {"points": [{"x": 1.0, "y": 0.0, "signal": 1.0}]}}


def _asked(port, path, body, **more):
    return Requests(port, path, method="POST", body=json.dumps(body).encode(), **more)


def measure(folder, *, rounds=5):
    """Return lines to print: seconds a call, one connection."""
    lines = []
    with service(folder / "service") as (port, key, _), client(port, key) as http:
        for kind in ("thread", "process"):
            answer = http.post(
                "/agents", json={**SPEC, "type": "tests.benchmarks.brains:Trivial", "name": kind, "executor": kind}
            )
            if answer.status_code != 201:
                continue
            http.post(f"/agents/{kind}/start", params={"paused": True}).raise_for_status()
            for call, body in BODIES.items():
                path = f"/api/v1/agents/{kind}/{call}"
                sample = http.post(path.removeprefix("/api/v1"), json=body).raise_for_status()
                ours, theirs = [], []
                with bare(folder, sample.text) as (bare_port, _):
                    for _ in range(rounds):
                        theirs.append(asyncio.run(_asked(bare_port, "/call", body).per_second(connections=1)))
                        asked = _asked(port, path, body, headers=[("Authorization", f"Apikey {key}")])
                        ours.append(asyncio.run(asked.per_second(connections=1, seconds=1)))
                a, b = 1e3 / statistics.median(ours), 1e3 / statistics.median(theirs)
                lines.append(f"{call:8} ({kind:7})   {a:8.2f} ms   bare POST route {b:6.2f} ms   ratio {a / b:.2f}")
    return lines
