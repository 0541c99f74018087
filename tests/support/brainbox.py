"""Brains for tests: small, honest ones, and ones that misbehave on purpose."""

import logging
import threading
import time
from pathlib import Path

import numpy as np

from agent_service import method, progress, variable

log = logging.getLogger("brainbox.chatty")


class Walker:
    """Suggests x = 0, 1, 2, ... (or ``step`` apart) with y = 0; numbers its suggestions; remembers everything."""

    def __init__(self, step: float = 1.0, limit: int | None = None, gain: float = 1.0) -> None:
        self.step = step
        self.limit = limit
        self.n = 0
        self.points = []
        self.failures = []
        self._gain = gain

    @variable
    def gain(self):
        """Something to turn."""
        return self._gain

    @gain.setter
    def gain(self, value):
        self._gain = float(value)

    @variable
    def seen(self):
        """How many points it has seen."""
        return len(self.points)

    def suggest(self, num_points=None):
        out = []
        for _ in range(num_points or 1):
            if self.limit is not None and self.n >= self.limit:
                break
            out.append({"x": self.n * self.step, "y": 0.0, "_id": self.n})
            self.n += 1
        return out

    def ingest(self, points):
        self.points.extend(points)

    def register_failures(self, suggestions):
        self.failures.extend(suggestions)

    def get_best_points(self):
        if not self.points:
            return []
        best = max(self.points, key=lambda point: point["signal"])
        outcome = {name: value for name, value in best.items() if name not in ("x", "y", "_id")}
        return [(best.get("_id"), {"x": best["x"], "y": best["y"]}, outcome)]

    def report(self):
        return {"n": len(self.points), "ids": [point.get("_id") for point in self.points], "failed": len(self.failures)}


class Open(Walker):
    """Reports all that it knows."""

    def report(self):
        return {**super().report(), "suggested": self.n, "step": self.step}


class Registering(Walker):
    """Is told which points were suggested, and counts them."""

    def register_suggestions(self, suggestions):
        first, self.n = self.n, self.n + len(suggestions)
        return [{**one, "_id": first + i} for i, one in enumerate(suggestions)]


class OneAtATime(Walker):
    """Has never more than one point to suggest, however many it is asked for."""

    def suggest(self, num_points=None):
        return super().suggest(1)


class AsksForOutcomes(Walker):
    """Has nothing to suggest while two of its points are open."""

    def suggest(self, num_points=None):
        return super().suggest(num_points) if self.n - len(self.points) - len(self.failures) < 2 else []


class Listener:
    """Never suggests; takes every run in."""

    def __init__(self) -> None:
        self.points = []

    def ingest(self, points):
        self.points.extend(points)

    def report(self):
        return {"points": self.points}


class Unborn:
    """Cannot be built."""

    def __init__(self) -> None:
        msg = "no model file"
        raise OSError(msg)

    def suggest(self, num_points=None):
        return []

    def ingest(self, points):
        pass


class Faulty(Walker):
    """Raises in the call named ``where``."""

    def __init__(self, where: str = "suggest") -> None:
        super().__init__()
        self.where = where

    def suggest(self, num_points=None):
        self._perhaps("suggest")
        return super().suggest(num_points)

    def ingest(self, points):
        self._perhaps("ingest")
        super().ingest(points)

    def _perhaps(self, call):
        if self.where == call:
            msg = f"singular matrix in {call}"
            raise ValueError(msg)


saving = threading.Event()
done_saving = threading.Event()
thinking = threading.Event()  # set while a Slow brain thinks
done_thinking = threading.Event()  # lets it go on


class SlowToSave(Walker):
    """Its state takes as long to be had as a test says."""

    def __getstate__(self):
        saving.set()
        assert done_saving.wait(60)
        return self.__dict__.copy()


class Slow(Walker):
    """Thinks in suggest until a test lets it go on."""

    def suggest(self, num_points=None):
        thinking.set()
        done_thinking.wait(60)
        return super().suggest(num_points)


class SlowThird(Walker):
    """Thinks in its third suggest until a test lets it go on."""

    def suggest(self, num_points=None):
        if self.n == 2:
            thinking.set()
            done_thinking.wait(60)
        return super().suggest(num_points)


class Sleepy(Walker):
    """Takes its time to be built."""

    def __init__(self, seconds: float = 0.0) -> None:
        time.sleep(seconds)
        super().__init__()


class Undecodable(Walker):
    """Fails with a file name that is no UTF-8, as os.listdir gives it."""

    def __init__(self) -> None:
        raise FileNotFoundError(2, "No such file", b"model-\x80.pt".decode("utf-8", "surrogateescape"))


class Foreign(Walker):
    """Suggests what is no actuator of the agent."""

    def suggest(self, num_points=None):
        return [{"z": 0.0}]


class Slots:
    """Suggests whole numbers as numpy has them, for a slot, and floats for a height; says what it is told."""

    def __init__(self) -> None:
        self.n = 0
        self.points = []

    def suggest(self, num_points=None):
        self.n += 1
        return [{"slot": np.arange(self.n, self.n + 1), "height": np.float32(self.n), "_id": self.n}]

    def ingest(self, points):
        self.points.extend(points)

    def get_best_points(self):
        best = max(self.points, key=lambda point: point["counts"])
        return [(best.get("_id"), {"slot": best["slot"], "height": best["height"]}, {"counts": best["counts"]})]

    def report(self):
        return {"kinds": [[type(one["slot"]).__name__, type(one["height"]).__name__] for one in self.points]}


class Mixed:
    """Suggests the points of its configuration one after the other, and says of what kinds it was told them."""

    def __init__(self, points: list, offers: dict | None = None) -> None:
        self.left = list(points)
        self.told = []
        if offers:
            self.space = offers

    def suggest(self, num_points=None):
        given, self.left = self.left[: num_points or 1], self.left[num_points or 1 :]
        return given

    def ingest(self, points):
        self.told.extend(points)

    def report(self):
        return {"told": self.told, "kinds": [{name: type(one[name]).__name__ for name in one} for one in self.told]}


def factory(start: int = 0):
    """Make a walker that begins at ``start``."""
    walker = Walker()
    walker.n = start
    return walker


def peak(run, suggestions):
    """Evaluate: the greatest signal of the run."""
    return [{"_id": one["_id"], "signal": float(run.data("signal").max())} for one in suggestions]


def broken(run, suggestions):
    """Evaluate: raise."""
    msg = "cannot fit"
    raise RuntimeError(msg)


def slow_peak(run, suggestions):
    """Evaluate: think until a test lets it go on."""
    thinking.set()
    done_thinking.wait(60)
    return peak(run, suggestions)


def held(run, suggestions):
    """Evaluate when the file ``hold`` is gone from the working directory."""
    while Path("hold").exists():
        time.sleep(0.01)
    return [{"signal": float(run.data("signal")[-1])} for _ in suggestions]


class Chatty(Walker):
    """Says how far it is, and logs, from inside its calls; waits where a test asks it to."""

    def __init__(self, steps: int = 3, hold: bool = False) -> None:
        super().__init__()
        self.steps = steps
        self.hold = hold

    def suggest(self, num_points=None):
        for n in range(self.steps):
            progress(n + 1, self.steps, "fitting")
            log.warning("step %d of %d", n + 1, self.steps)
        if self.hold:
            thinking.set()
            done_thinking.wait(60)
        return super().suggest(num_points)


class Patient(Walker):
    """Waits in suggest, or in being built, as long as the file ``gate`` is missing; says so in the file ``gate``.waits.

    Files, so that it can be steered in another process too.
    """

    def __init__(self, gate: str = "", where: str = "suggest", gain: float = 1.0) -> None:
        super().__init__(gain=gain)
        self._gate = gate
        self._where = where
        self.offset = 0
        self._wait("start")

    def suggest(self, num_points=None):
        self._wait("suggest")
        return super().suggest(num_points)

    def report(self):
        return {**super().report(), "offset": self.offset}

    @variable
    def clock(self):
        """How often it was looked at."""
        self.looked = getattr(self, "looked", 0) + 1
        return self.looked

    @method
    def add(self, a: float, b: float = 1.0) -> float:
        """Add two numbers."""
        return a + b

    @method(replay=True)
    def shift(self, by: int) -> int:
        """Shift what it reports."""
        self.offset += by
        return self.offset

    @method
    def nudge(self) -> None:
        """Shift what it reports, until it is built anew."""
        self.offset += 1000

    @method
    def draw(self):
        """Return what JSON cannot hold."""
        return {"figure": object()}

    @method
    def burst(self):
        """Raise."""
        msg = "out of film"
        raise RuntimeError(msg)

    @method
    def ponder(self):
        """Wait."""
        self._wait("ponder")
        return [float("nan"), (1, 2)]

    def secret(self):
        """Not declared, so nobody may call it."""

    def _wait(self, where):
        if where != self._where:
            return
        Path(self._gate + ".waits").touch()
        while not Path(self._gate).exists():
            progress(1, 2, "waiting")
            time.sleep(0.01)


class SlowToShow(Walker):
    """Waits for the file ``gate`` whenever it shows itself but the first time."""

    def __init__(self, gate: str) -> None:
        super().__init__()
        self._gate = gate
        self._shown = 0

    @variable
    def shown(self):
        """How often it was shown."""
        self._shown += 1
        while self._shown > 1 and not Path(self._gate).exists():
            Path(self._gate + ".waits").touch()
            time.sleep(0.01)
        return self._shown


def frames(run, suggestions):
    """Evaluate: each event's frame, which is of one value, and nothing else."""
    found = {}
    for number, frame in enumerate(run.data("frame"), 1):
        assert frame.min() == frame.max()
        found[f"frame{number}"] = float(frame.mean())
    return found


def vandal(run, suggestions):
    """Evaluate, and change the run as far as that is possible."""
    measured = float(run.data("signal").mean())
    for name, document in run.documents:
        if name == "event":
            document["data"]["signal"] = -1e6
        elif name == "start":
            document.pop("agent_suggestion_uid")
    return {"signal": measured}


def difference(runs, suggestions):
    """Evaluate all runs of a suggestion: the last one less the first."""
    first, last = (float(run.data("signal").mean()) for run in (runs[0], runs[-1]))
    return {"signal": last - first, "n": len(runs)}


def shifted(run, suggestions):
    """Evaluate to an outcome that has an actuator's name."""
    return [{"x": one["x"] + 1, "signal": 1.0} for one in suggestions]


def copied(run, suggestions):
    """Evaluate, and return the positions too."""
    return [{**one, "signal": 1.0} for one in suggestions]


def counted(run, suggestions):
    """Evaluate to the number of the run's documents."""
    return {"signal": float(len(run.documents))}


class Circular(Walker):
    """Says of itself what JSON cannot hold, for as long as ``odd`` says so."""

    def __init__(self) -> None:
        super().__init__()
        self._odd = "circle"

    @variable
    def odd(self):
        """What is odd about what it says."""
        return self._odd

    @odd.setter
    def odd(self, value):
        self._odd = value

    @variable
    def shown(self):
        """What is odd, as a variable."""
        return self._what()

    @method
    def tell(self):
        """What is odd, as a result."""
        return self._what()

    def get_best_points(self):
        return [(self._what(), point, {"signal": outcome, "odd": self._what()}) for _, point, outcome in self._best()]

    def report(self):
        return {"n": len(self.points), "odd": self._what()} if self._odd != "no mapping" else [1]

    def _best(self):
        return [(None, {"x": one["x"], "y": one["y"]}, one["signal"]) for one in self.points[:1]]

    def _what(self):
        circle = {}
        circle["again"] = [circle]
        deep = []
        for _ in range(5000):
            deep = [deep]
        kinds = {"circle": circle, "deep": deep, "large": np.zeros((2000, 2000)), "huge": 10**400}
        return {**kinds, "fine": np.longdouble("0.5")}.get(self._odd, "fine")


class Loud(Walker):
    """Raises with a text of many megabytes that would steer a terminal."""

    def __init__(self, size: int = 10) -> None:
        super().__init__()
        self.size = size

    def suggest(self, num_points=None):
        raise RuntimeError("\x1b]0;owned\x07\x1b[2J\r\x00" + "x" * self.size)
