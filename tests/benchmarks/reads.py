"""GET of an agent's status and of a variable against a bare FastAPI route that returns the same JSON."""

import asyncio
import statistics

from tests.benchmarks.servers import Requests, bare, client, service

WANTED = "ratio >= 1.0"

SPEC = {
    "name": "walker",
    "type": "brainbox:Walker",
    "actuators": ["x", "y"],
    "sensors": ["signal"],
    "outcome": "signal",
    "loop": {"max_runs": 5},
}
PATHS = {"status reads": "/api/v1/agents/walker", "variable reads": "/api/v1/agents/walker/variables/seen"}


def measure(folder, *, rounds=5):
    """Return lines to print."""
    lines = []
    with service(folder / "service") as (port, key, _), client(port, key) as http:
        http.post("/agents", json=SPEC).raise_for_status()
        http.post("/agents/walker/start").raise_for_status()
        while http.get("/agents/walker").json()["state"] != "stopped":
            pass
        for what, path in PATHS.items():
            answer = http.get(path.removeprefix("/api/v1")).raise_for_status()
            ours, theirs = [], []
            with bare(folder, answer.text) as (bare_port, _):
                for _ in range(rounds):
                    theirs.append(asyncio.run(Requests(bare_port, "/status").per_second()))
                    asked = Requests(port, path, headers=[("Authorization", f"Apikey {key}")])
                    ours.append(asyncio.run(asked.per_second()))
            a, b = statistics.median(ours), statistics.median(theirs)
            lines.append(f"{what:21} {a:8.0f} /s   bare FastAPI route {b:8.0f} /s   ratio {a / b:.2f}")
    return lines
