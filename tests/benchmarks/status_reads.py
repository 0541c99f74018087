"""GET of an agent's status against a bare FastAPI route that returns the same JSON."""

import asyncio
import statistics

import httpx

from tests.benchmarks.servers import bare, requests_per_second, service

SPEC = {
    "name": "walker",
    "type": "brainbox:Walker",
    "actuators": ["x", "y"],
    "sensors": ["signal"],
    "outcome": "signal",
    "loop": {"max_runs": 5},
}


def measure(folder, *, rounds=5):
    """Return lines to print."""
    with service(folder / "service") as (port, key, _):
        auth = {"Authorization": f"Apikey {key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", headers=auth) as http:
            http.post("/agents", json=SPEC).raise_for_status()
            http.post("/agents/walker/start").raise_for_status()
            while (answer := http.get("/agents/walker")).json()["state"] != "stopped":
                pass
        ours, theirs = [], []
        with bare(folder, answer.text) as (bare_port, _):
            for _ in range(rounds):
                theirs.append(asyncio.run(requests_per_second(bare_port, "/status")))
                path = "/api/v1/agents/walker"
                ours.append(asyncio.run(requests_per_second(port, path, headers=auth.items())))
    a, b = statistics.median(ours), statistics.median(theirs)
    return [f"status reads          {a:8.0f} /s   bare FastAPI route {b:8.0f} /s   ratio {a / b:.2f}"]
