"""Events/s of somebody's own RunEngine with the service subscribed to it, and without: of numbers, and of frames."""

import statistics
import time

import numpy as np

WANTED = "ratio >= 0.95"


class Camera:
    """Reads frames of 4 MB out of one buffer, which it fills anew for each, as fast cameras do."""

    name = "camera"
    parent = None

    def __init__(self):
        self._buffer = np.zeros((1024, 2048), dtype="uint16")

    def read(self):
        self._buffer += 1
        return {"camera_image": {"value": self._buffer, "timestamp": time.time()}}

    def describe(self):
        return {"camera_image": {"source": "simulated", "dtype": "array", "shape": list(self._buffer.shape)}}

    def read_configuration(self):
        return {}

    def describe_configuration(self):
        return {}


def measure(folder, *, n=300, rounds=7):
    """Return lines to print."""
    from bluesky import RunEngine
    from ophyd.sim import det

    engine = RunEngine({}, context_managers=[])
    return [
        _compared(engine, det, folder / "numbers", n=n, rounds=rounds, name="RunEngine events"),
        _compared(engine, Camera(), folder / "frames", n=n // 3, rounds=rounds, name="with 4 MB frames"),
    ]


def _compared(engine, detector, folder, *, n, rounds, name):  # noqa: PLR0913 - a table's columns
    from bluesky.plans import count

    import agent_service

    def rate():
        began = time.perf_counter()
        engine(count([detector], num=n))
        return n / (time.perf_counter() - began)

    rate()
    ours, theirs = [], []
    for one in range(rounds):
        theirs.append(rate())
        with agent_service.serve(RE=engine, catalog="none", state=folder / str(one)):
            ours.append(rate())
    a, b = statistics.median(ours), statistics.median(theirs)
    return f"{name:<20}{a:10.0f} /s   not subscribed     {b:8.0f} /s   ratio {a / b:.2f}"
