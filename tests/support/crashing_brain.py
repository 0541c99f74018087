"""A brain that harms itself when told to, by setting a variable. Imports little, for a child imports it."""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

from agent_service import variable


class CrashingBrain:
    """Suggests x = 0, 1, 2, ...; ``peril`` says what happens at the next suggest."""

    def __init__(self, peril: str = "") -> None:
        self.n = 0
        self.points = []
        self._peril = peril
        if peril == "constructor":
            msg = "the licence server does not answer"
            raise ConnectionError(msg)

    @variable
    def pid(self):
        """Where it lives."""
        return os.getpid()

    @variable
    def peril(self):
        """What happens next."""
        return self._peril

    @peril.setter
    def peril(self, value):
        self._peril = value

    def suggest(self, num_points=None):
        if self._peril:
            found = getattr(self, f"_{self._peril}")()
            if found is not None:
                return found
        self.n += 1
        return [{"x": float(self.n), "y": 0.0, "_id": self.n}]

    def ingest(self, points):
        self.points.extend(points)

    def report(self):
        return {"n": len(self.points), "ids": [one.get("_id") for one in self.points]}

    def _kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def _segfault(self):
        ctypes.string_at(0)

    def _exit(self):
        os._exit(3)

    def _loop(self):
        while True:
            pass

    def _memory(self):
        return [bytes(1 << 30) for _ in range(4)]

    def _unpicklable(self):
        return threading.Lock()


class Frail:
    """Suggests x = 0, 1, 2, ...; as often as the file ``faults`` says, it fails in the call ``where``, by ``how``."""

    def __init__(self, faults: str, where: str = "suggest", how: str = "raise") -> None:
        self.n = 0
        self.points = []
        self._faults = Path(faults)
        self._where = where
        self._how = how
        self._perhaps("constructor")

    @variable
    def pid(self):
        """Where it lives."""
        return os.getpid()

    def suggest(self, num_points=None):
        self._perhaps("suggest")
        found = [{"x": float(self.n + i), "y": 0.0, "_id": self.n + i} for i in range(num_points or 1)]
        self.n += len(found)
        return found

    def ingest(self, points):
        self._perhaps("ingest")
        self.points.extend(points)

    def report(self):
        return {"n": len(self.points), "ids": [one.get("_id") for one in self.points]}

    def _perhaps(self, where):
        left = int(self._faults.read_text())
        if where != self._where or left == 0:
            return
        self._faults.write_text(str(left - 1))
        if self._how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        self._faults.with_suffix(".pid").write_text(str(os.getpid()))
        deadline = time.monotonic() + 30
        while self._how == "hang" and int(self._faults.read_text()) >= 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        msg = f"no luck in {where}"
        raise RuntimeError(msg)


def deadly_peak(run, suggestions):
    """Evaluate; as often as the file that DEADLY names says, die of it."""
    counter = Path(os.environ["DEADLY"])
    left = int(counter.read_text())
    if left:
        counter.write_text(str(left - 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"_id": one["_id"], "signal": float(run.data("signal").max())} for one in suggestions]
