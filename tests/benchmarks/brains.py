"""Brains for the benchmarks."""

import time

from agent_service.brains.builtin.bayes import Bayes


class Spinner:
    """Burns a core for ``seconds`` in each suggest."""

    def __init__(self, seconds):
        self._seconds = seconds

    def suggest(self, num_points=None):
        end = time.perf_counter() + self._seconds
        while time.perf_counter() < end:
            sum(range(1000))
        return [{"x": 0.0, "y": 0.0}] * (num_points or 1)

    def ingest(self, points):
        pass

    def get_best_points(self):
        return []


class Listener:
    """Takes outcomes and suggests nothing."""

    def suggest(self, num_points=None):
        return []

    def ingest(self, points):
        pass

    def get_best_points(self):
        return []


class Trivial:
    """Suggests the origin, and keeps nothing: what a call of it costs does not grow."""

    def suggest(self, num_points=None):
        return [{"x": 0.0, "y": 0.0}] * (num_points or 1)

    def ingest(self, points):
        pass

    def get_best_points(self):
        return []


class Thinker:
    """Suggests as `bayes` does, and takes ``seconds`` for it at least."""

    def __init__(self, *, seconds: float, bounds: dict, objective: str, seed: int) -> None:
        self._bayes = Bayes(bounds=bounds, objective=objective, seed=seed)
        self._seconds = seconds
        self.ingest = self._bayes.ingest
        self.get_best_points = self._bayes.get_best_points

    def suggest(self, num_points=1):
        end = time.perf_counter() + self._seconds
        points = self._bayes.suggest(num_points)
        time.sleep(max(0.0, end - time.perf_counter()))
        return points
