"""Brains of somebody's own, without a library: one whose methods are coroutines, and one that waits for outcomes."""

import random

from agent_service.brains.not_now import NotNow


class Awaited:
    """Draws points, and awaits."""

    def __init__(self, seed: int = 0):
        self._random = random.Random(seed)
        self._n, self._open, self._measured = 0, set(), []

    async def suggest(self, num_points=None):
        drawn = [{name: self._random.uniform(-3, 3) for name in "xy"} for _ in range(num_points or 1)]
        return await self.register_suggestions(drawn)

    async def register_suggestions(self, points):
        numbered = [{**point, "_id": self._n + i} for i, point in enumerate(points)]
        self._n += len(points)
        self._open |= {point["_id"] for point in numbered}
        return numbered

    async def register_failures(self, points):
        self._open -= {point["_id"] for point in points}

    async def ingest(self, points):
        self._open -= {point.get("_id") for point in points}
        self._measured += points

    async def report(self):
        return {"n_measured": len(self._measured), "n_pending": len(self._open)}


class Generations(Awaited):
    """Has four points at a time, and no fifth before it was told the outcome of one."""

    most_pending = 4

    async def suggest(self, num_points=None):
        if len(self._open) >= self.most_pending:
            raise NotNow(f"needs the outcomes of {len(self._open)} points")
        return await super().suggest(1)
