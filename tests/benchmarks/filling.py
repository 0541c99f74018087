"""Whether points that are measured while the brain thinks cost the optimum: ``bayes`` on the simulated beamline.

The time is simulated, so that thirty runs of a brain that thinks for 1.5 s take no minute; what is done when is as the
service has it (`agents.proposals`): a brain is told all that was measured before it is asked, and a filler point begins
only while it thinks.
"""

import random
import statistics

from agent_service.brains.builtin.bayes import Bayes
from agent_service.brains.builtin.sobol import Sobol
from agent_service.plans.beamline import measured_flux, optimum, true_flux
from tests.benchmarks.optimum import BOUNDS

WANTED = "plans of 0.5 s: the optimum after 30 runs of the agent's own not worse than alone, in 10 seeds"

CASES = {
    "1.5 s a suggest": (1.5, 1, False),
    "1.5 s a suggest, filler points": (1.5, 2, True),
    "0.4 s a suggest": (0.4, 1, False),
    "0.4 s a suggest, asked ahead": (0.4, 2, False),
}
_PLAN_S = 0.5


class Beamline:
    """One brain's experiment, in simulated seconds."""

    def __init__(self, *, seed, think_s, max_pending, fills):
        self.brain = Bayes(bounds=BOUNDS, seed=seed)
        self._noise = random.Random(seed)
        self._filler = Sobol(bounds=BOUNDS, seed=seed) if fills else None
        self._think_s, self._max_pending = think_s, max_pending
        self.now_s = self.measuring_s = 0.0
        self.runs = []  # True for each of the agent's own
        self._thought = self._plan = None  # when it ends, and what it is about
        self._waiting, self._outcomes, self._open = [], [], 0
        self.part_after_30 = None

    def measure(self, runs):
        """Measure until so many runs of the agent's own are told."""
        while sum(self.runs) < runs or self._outcomes:
            self._tell()
            if self._thought is None and self._open < self._max_pending and sum(self.runs) + self._open < runs:
                [point] = self.brain.suggest(1)
                self._thought, self._open = (self.now_s + self._think_s, point), self._open + 1
            if self._plan is None:
                self._begin()
            if self._thought is None and self._plan is None:
                continue
            self._next()
        return self

    @property
    def part(self):
        """The true flux at the best point that was measured, as a part of the optimum's."""
        [(_, best, _)] = self.brain.get_best_points()
        return true_flux(best["mirror_x"], best["mirror_y"]) / optimum().flux

    def _tell(self):
        if self._thought is None and self._outcomes:
            self.brain.ingest(self._outcomes)
            self._open -= sum("_id" in point for point in self._outcomes)
            self._outcomes = []
            if self.part_after_30 is None and len(self.runs) >= 30:
                self.part_after_30 = self.part

    def _begin(self):
        if self._waiting:
            self._plan = (self.now_s + _PLAN_S, self._waiting.pop(0))
        elif self._filler is not None and self._thought is not None:
            [point] = self._filler.suggest(1)
            self._plan = (self.now_s + _PLAN_S, {name: point[name] for name in BOUNDS})

    def _next(self):
        self.now_s = min(ends for ends, _ in filter(None, (self._thought, self._plan)))
        if self._thought is not None and self._thought[0] <= self.now_s:
            self._waiting.append(self._thought[1])
            self._thought = None
        if self._plan is not None and self._plan[0] <= self.now_s:
            point = self._plan[1]
            flux = measured_flux(point["mirror_x"], point["mirror_y"], noise=self._noise)
            self._outcomes.append({**point, "flux": flux})
            self.runs.append("_id" in point)
            self.measuring_s += _PLAN_S
            self._plan = None


def measure(folder, *, seeds=10, runs=30):
    """Yield lines to print."""
    for what, (think_s, max_pending, fills) in CASES.items():
        done = [
            Beamline(seed=seed, think_s=think_s, max_pending=max_pending, fills=fills).measure(runs)
            for seed in range(seeds)
        ]
        parts, after_30 = [one.part for one in done], [one.part_after_30 for one in done]
        idle = 100 * (1 - sum(one.measuring_s for one in done) / sum(one.now_s for one in done))
        yield (
            f"{what}: beam idle {idle:.0f} %, {statistics.mean(one.now_s for one in done):.0f} s, "
            f"{statistics.mean(len(one.runs) for one in done):.0f} runs; part of the optimum, lowest and median: "
            f"{min(parts):.3f} {statistics.median(parts):.3f}, after 30 runs in all "
            f"{min(after_30):.3f} {statistics.median(after_30):.3f}"
        )
