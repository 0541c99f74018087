"""A startup module for chaos: devices drawn at random, one for each position of ``pick``, and who watches them.

The test fills `DEVICES`, `BUFFERS` and `SCORES` before a service of its own process loads this.
"""

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from comparison import Witness
from ophyd import Signal

DEVICES = []
SCORES = []
witness = Witness()

pick = Signal(name="pick", value=0)


class Refilled:
    """A camera that fills one buffer again and again, as many do."""

    name = "camera"
    parent = None
    events = 3

    def __init__(self):
        self._buffer = np.zeros((2, 3))

    def describe(self):
        return {"frame": {"dtype": "array", "shape": [2, 3], "source": "drawn", "units": "counts"}}

    def read(self):
        self._buffer += 1
        return {"frame": {"value": self._buffer, "timestamp": 1.5}}

    def describe_configuration(self):
        return {}

    def read_configuration(self):
        return {}


def measure_drawn(suggestions, actuators, sensors, md=None):
    """Measure the device that is picked, under the eyes of a plain subscriber."""
    position = int(suggestions[0]["pick"])
    device = DEVICES[position]

    @bpp.subs_decorator(witness)
    @bpp.stage_decorator([])
    @bpp.run_decorator(md=md or {})
    def run():
        yield from bps.mv(pick, position)
        for _ in range(device.events):
            yield from bps.trigger_and_read([pick, device])

    return (yield from run())


def scores(run, suggestions):
    """Return outcomes of any name."""
    return [dict(SCORES[int(one["pick"])]) for one in suggestions]
