"""How often each brain finds the optimum of the simulated beamline: ``python tests/benchmarks/optimum.py --seeds 10``.

A seed counts when the true flux at the best measured point, as the brain names it, is at least 95 % of the optimum's.
The brain is asked directly, one point at a time: no RunEngine, no service. ``random`` is the control.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from dataclasses import dataclass
from typing import Any

from agent_service.brains.builtin.bayes import Bayes
from agent_service.brains.builtin.sobol import Sobol
from agent_service.plans.beamline import LIMITS_MM, measured_flux, optimum, true_flux

BOUNDS = {"mirror_x": list(LIMITS_MM), "mirror_y": list(LIMITS_MM)}
ENOUGH = 0.95


class Random:
    """Uniform random search: the control. Names the point with the best reading."""

    def __init__(self, *, seed: int) -> None:
        self._random = random.Random(seed)
        self._points: list[dict[str, float]] = []

    def suggest(self, num_points: int) -> list[dict[str, float]]:
        return [{name: self._random.uniform(*limits) for name, limits in BOUNDS.items()} for _ in range(num_points)]

    def ingest(self, points: list[dict[str, float]]) -> None:
        self._points += points

    def get_best_points(self) -> list[tuple[None, dict[str, float], dict[str, float]]]:
        best = max(self._points, key=lambda one: one["flux"])
        return [(None, {name: best[name] for name in BOUNDS}, {"flux": best["flux"]})]


BRAINS = {
    "bayes": lambda seed: Bayes(bounds=BOUNDS, seed=seed),
    "sobol": lambda seed: Sobol(bounds=BOUNDS, seed=seed),
    "random": lambda seed: Random(seed=seed),
}


@dataclass(frozen=True)
class Result:
    """Part of the optimal flux that was found, and the longest time from an outcome to the next point, in seconds."""

    part: float
    slowest_s: float


def search(brain: Any, *, seed: int, runs: int = 30) -> Result:
    """Let a brain steer ``runs`` measurements with noise of that seed."""
    noise = random.Random(seed)
    times: list[float] = []
    for _ in range(runs):
        begun = time.perf_counter()
        [point] = brain.suggest(1)
        flux = measured_flux(point["mirror_x"], point["mirror_y"], noise=noise)
        brain.ingest([{**point, "flux": flux}])
        [(_, best, _)] = brain.get_best_points()
        times.append(time.perf_counter() - begun)
    return Result(true_flux(best["mirror_x"], best["mirror_y"]) / optimum().flux, max(times[1:]))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=30)
    given = parser.parse_args()
    print(f"{given.runs} runs, {given.seeds} seeds: true flux at the best measured point, as a part of the optimum's")
    print(f"{'brain':8} {'>= 95 %':>9} {'lowest':>8} {'median':>8} {'slowest step':>14}")
    for name, make in BRAINS.items():
        results = [search(make(seed), seed=seed, runs=given.runs) for seed in range(given.seeds)]
        parts = [one.part for one in results]
        found = sum(part >= ENOUGH for part in parts)
        slowest = max(one.slowest_s for one in results)
        print(f"{name:8} {found:4} of {len(parts)} {min(parts):8.3f} {statistics.median(parts):8.3f} {slowest:12.3f} s")


if __name__ == "__main__":
    main()
