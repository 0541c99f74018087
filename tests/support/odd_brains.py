"""Brains that have no opinion, or no point yet: for a note and a wait, and no end of their agents."""

from brainbox import Walker

from agent_service.brains.not_now import NotNow


class Unsure(Walker):
    """Raises whenever it is asked what it thinks."""

    def get_best_points(self):
        raise AssertionError("no feasible point")

    def should_stop(self):
        raise ValueError("no model yet")

    def report(self):
        raise KeyError("trial 3")


class Hopeful(Walker):
    """Believes that the best is where nobody measured."""

    def get_best_points(self):
        return [(None, {"x": 1.5, "y": -0.5}, {"signal": 9.0})]


class AwaitedUnsure(Unsure):
    """The same with coroutines."""

    async def suggest(self, num_points=None):
        return super().suggest(num_points)

    async def ingest(self, points):
        super().ingest(points)

    async def get_best_points(self):
        super().get_best_points()

    async def should_stop(self):
        super().should_stop()

    async def report(self):
        super().report()


class Generations(Walker):
    """Has two points for each generation, and none before both found an end; six in all."""

    def suggest(self, num_points=None):
        ended = len(self.points) + len(self.failures)
        if self.n == ended + 2 and self.n < 6:
            raise NotNow(f"needs outcomes of {self.n - ended} points")
        return super().suggest(1) if self.n < 6 else []


class AwaitedGenerations(Generations):
    """The same with coroutines."""

    async def suggest(self, num_points=None):
        return super().suggest(num_points)

    async def ingest(self, points):
        super().ingest(points)


class Patient(Walker):
    """Suggests nothing before it was told something; says so with an exception of its own."""

    def suggest(self, num_points=None):
        if not self.points:
            raise type("NotNow", (Exception,), {})("wants a point of somebody's first")
        return super().suggest(num_points)


class OddBelief(Walker):
    """Says odd things of what it believes."""

    def __init__(self, answer, **config):
        super().__init__(**config)
        self.answer = answer

    def predict(self, points):
        pairs = {"short": (1.0, 0.1), "scalar": 1.0, "nan": (float("nan"), 0.1), "negative": (1.0, -0.1)}
        if self.answer == "raises":
            raise RuntimeError("no model\nand more")
        beliefs = [{"signal": pairs[self.answer]} for _ in points]
        return beliefs[:1] if self.answer == "short" else beliefs
