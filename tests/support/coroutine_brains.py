"""Brains whose methods are coroutines, and some whose methods only look like ordinary ones."""

import asyncio
import concurrent.futures
from pathlib import Path

from agent_service import method, variable


class Awaited:
    """Suggests x = 0, 1, 2, ...; every method is a coroutine; a task of its own ticks between the calls."""

    def __init__(self, folder: str = "", enough: int = 1000) -> None:
        self.n = 0
        self.points = []
        self.failures = []
        self.registered = []
        self.saved = 0
        self.loops = set()
        self.ticks = 0
        self.offset = 0
        self._folder = Path(folder)
        self._enough = enough
        self._gain = 1.0
        self._ticking = None

    async def _turn(self):
        """Give way, as a client of something does, and note which loop this is."""
        self.loops.add(id(asyncio.get_running_loop()))
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())
        await asyncio.sleep(0)

    async def _tick(self):
        try:
            while True:
                await asyncio.sleep(0.005)
                self.ticks += 1
        finally:
            (self._folder / "ended").touch()

    async def suggest(self, num_points=None):
        await self._turn()
        self.n += 1
        return [{"x": float(self.n), "y": 0.0, "_id": self.n}]

    async def ingest(self, points):
        await self._turn()
        self.points.extend(points)

    async def get_best_points(self):
        await self._turn()
        best = max(self.points, key=lambda point: point["signal"])
        return [(best.get("_id"), {"x": best["x"], "y": best["y"]}, {"signal": best["signal"]})]

    async def should_stop(self):
        await self._turn()
        return len(self.points) >= self._enough, "it knows enough"

    async def checkpoint(self):
        await self._turn()
        self.saved += 1

    async def register_suggestions(self, suggestions):
        await self._turn()
        self.registered.extend(suggestions)
        return [{**one, "_id": 100 + i} for i, one in enumerate(suggestions)]

    async def register_failures(self, suggestions):
        await self._turn()
        self.failures.extend(suggestions)

    async def report(self):
        await self._turn()
        return {
            "n": len(self.points),
            "failures": len(self.failures),
            "registered": len(self.registered),
            "saved": self.saved,
            "loops": len(self.loops),
            "offset": self.offset,
        }

    @variable
    async def gain(self):
        await self._turn()
        return self._gain

    @gain.setter
    async def gain(self, value):
        await self._turn()
        if value < 0:
            msg = "gain is below 0"
            raise ValueError(msg)
        self._gain = value

    @variable
    async def ticked(self):
        """How often its own task went round."""
        return self.ticks

    @method(replay=True)
    async def shift(self, by: int) -> int:
        await self._turn()
        self.offset += by
        return self.offset

    @method
    async def burst(self):
        await self._turn()
        msg = "out of film"
        raise RuntimeError(msg)

    @method
    async def give_up(self):
        """Cancel itself."""
        asyncio.current_task().cancel()
        await asyncio.sleep(1)


async def make(folder: str = "", enough: int = 1000):
    """Make one, as a factory does that connects to something first."""
    await asyncio.sleep(0)
    made = Awaited(folder, enough)
    await made._turn()
    return made


async def make_none():
    """Fail to."""
    await asyncio.sleep(0)
    msg = "nobody answers"
    raise ConnectionError(msg)


class Disguised:
    """Ordinary functions that return something to await."""

    def __init__(self) -> None:
        self.points = []
        self._pool = concurrent.futures.ThreadPoolExecutor(1)

    def suggest(self, num_points=None):
        return self._suggest()

    async def _suggest(self):
        return [{"x": 1.0, "y": 0.0}]

    def ingest(self, points):
        return self._pool.submit(self.points.extend, points)

    def report(self):
        return {"n": len(self.points)}

    def __reduce__(self):
        return type(self), ()


class OwnLoop(Disguised):
    """Runs a loop of its own inside an ordinary call, after one that was awaited."""

    def report(self):
        return asyncio.run(self._report())

    async def _report(self):
        await asyncio.sleep(0)
        return {"n": len(self.points)}


class Stuck(Awaited):
    """Never comes back from where it is told to wait; says so when it is cancelled."""

    def __init__(self, folder: str = "", where: str = "suggest") -> None:
        super().__init__(folder)
        self._where = where

    async def suggest(self, num_points=None):
        await self._perhaps("suggest")
        return await super().suggest(num_points)

    async def ingest(self, points):
        await self._perhaps("ingest")
        await super().ingest(points)

    async def _perhaps(self, where):
        if self._where == where:
            try:
                await asyncio.sleep(3600)
            finally:
                (self._folder / "cancelled").touch()


class Yielding(Awaited):
    """Has a yield where it should not."""

    def ingest(self, points):
        yield from points


class AsyncYielding(Awaited):
    """Has a yield where it should not."""

    async def suggest(self, num_points=None):
        yield {"x": 1.0, "y": 0.0}


async def peak(run, suggestions):
    """Evaluate: the greatest signal of the run."""
    await asyncio.sleep(0)
    return [{"_id": one["_id"], "signal": float(run.data("signal").max())} for one in suggestions]


async def later_peak(uid, suggestions):
    """Evaluate by uid."""
    await asyncio.sleep(0)
    return [{"signal": float(len(uid))} for _ in suggestions]
