"""A brain that harms itself when told to, by setting a variable. Imports little, for a child imports it."""

import ctypes
import os
import signal
import threading

from agent_service import variable


class Perilous:
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
