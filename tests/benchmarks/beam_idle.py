"""How much of the time no plan runs while a brain thinks: alone, asked ahead, and with filler points."""

import statistics
import time

from tests.benchmarks.servers import client, service

WANTED = "1.5 s a suggest, plans of 0.5 s: <= 5 % idle with filler points; 0.4 s a suggest: <= 5 % asked ahead"

CASES = {
    "1.5 s a suggest": (1.5, {}),
    "1.5 s a suggest, filler points": (1.5, {"filler": "sobol", "max_pending": 2}),
    "0.4 s a suggest": (0.4, {}),
    "0.4 s a suggest, asked ahead": (0.4, {"max_pending": 2}),
}


def _run(http, name, *, seed, think_s, loop, runs):  # noqa: PLR0913
    bounds = {"x": [-5.0, 5.0], "y": [-5.0, 5.0]}
    spec = {
        "name": name,
        "type": "tests.benchmarks.brains:Thinker",
        "config": {"seconds": think_s, "bounds": bounds, "objective": "signal", "seed": seed},
        "actuators": ["x", "y"],
        "sensors": ["signal"],
        "outcome": "signal",
        "executor": "process",
        "guardrails": {"bounds": bounds},
        "plan": "half_a_second",
        "loop": {"max_runs": runs, **loop},
    }
    answer = http.post("/agents", json=spec)
    assert answer.status_code == 201, answer.text
    http.post(f"/agents/{name}/start").raise_for_status()
    while (status := http.get(f"/agents/{name}").json())["state"] not in ("stopped", "failed"):
        time.sleep(0.5)
    assert status["progress"]["done"] == runs, status
    return status


def measure(folder, *, runs=12, seeds=1):
    """Return lines to print."""
    lines = []
    with service(folder, catalog="none", startup="tests.benchmarks.half_second") as (port, key, _):
        http = client(port, key)
        for number, (what, (think_s, loop)) in enumerate(CASES.items()):
            done = [
                _run(http, f"c{number}-{seed}", seed=seed, think_s=think_s, loop=loop, runs=runs)
                for seed in range(seeds)
            ]
            idle = statistics.median(one["beam_idle"] for one in done)
            best = statistics.median(one["best"]["outcome"]["signal"] for one in done)
            lines.append(f"beam idle {100 * idle:5.1f} %   best of {runs} runs {best:.4f}   ({what}, {seeds} seeds)")
        http.close()
    return lines
