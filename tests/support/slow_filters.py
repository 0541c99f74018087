"""A startup module: devices of all kinds, two outcomes, and a plan that takes a while and fails at one place."""

import random

import bluesky.plan_stubs as bps
from filters import filt, flux, lamp, turns, x
from ophyd.sim import SynSignal

from agent_service.plans.library import acquire

__all__ = ["filt", "flux", "lamp", "slowly", "turns", "width", "x"]

width = SynSignal(func=lambda: abs(x.get() - turns.get()) + 1.0, name="width")
SPACE = {
    "filt": {"type": "choice", "values": ["none", "Al", "Ti", "1"]},
    "turns": {"type": "int", "low": 0, "high": 7},
    "lamp": {"type": "bool"},
    "x": [-3, 3],
}


def slowly(suggestions, actuators, sensors=(), md=None):
    """Measure, so that others wait meanwhile; or raise."""
    yield from bps.sleep(0.01)
    if suggestions[0]["turns"] == 7:
        msg = "the screw sticks"
        raise RuntimeError(msg)
    return (yield from acquire(suggestions, actuators, sensors, md))


class Draws:
    """Draws points, numbers them, and says which are open and what it was told."""

    def __init__(self, seed: int = 0, most: int | None = None):
        self._random, self.most_pending = random.Random(seed), most
        self._n, self._open, self.told = 0, {}, []

    def suggest(self, num_points=None):
        draw = self._random
        return self.register_suggestions(
            {
                "filt": draw.choice(["none", "Al", "Ti", "1"]),
                "turns": draw.randint(0, 7),
                "lamp": draw.random() < 0.5,
                "x": draw.uniform(-3, 3),
            }
            for _ in range(num_points or 1)
        )

    def register_suggestions(self, suggestions):
        numbered = [{**one, "_id": self._n + i} for i, one in enumerate(suggestions)]
        self._n += len(numbered)
        self._open |= {one["_id"]: {name: one[name] for name in SPACE} for one in numbered}
        return numbered

    def register_failures(self, suggestions):
        for one in suggestions:
            del self._open[one["_id"]]

    def ingest(self, points):
        for point in points:
            number = point.get("_id")
            if number is not None:
                assert {name: point[name] for name in SPACE} == self._open.pop(number)
            self.told.append({name: value for name, value in point.items() if name != "_id"})

    def report(self):
        return {"open": list(self._open.values()), "told": self.told}
