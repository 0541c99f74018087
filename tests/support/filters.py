"""A startup module whose devices are moved by texts, whole numbers, true and false; they remember what they got."""

from ophyd import Signal
from ophyd.sim import SynSignal


class Remembering(Signal):
    """Takes anything, and remembers it, as it came."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.sent = []

    def put(self, value, **kwargs):
        self.sent.append(value)
        super().put(value, **kwargs)


filt = Remembering(name="filt", value="none")
turns = Remembering(name="turns", value=0)
lamp = Remembering(name="lamp", value=False)
x = Remembering(name="x", value=0.0)
DEVICES = (filt, turns, lamp, x)


def _flux():
    return {"Al": 1.0, "Ti": 3.0}.get(filt.get(), 0.0) + turns.get() + (0.5 if lamp.get() else 0.0) - x.get() ** 2


flux = SynSignal(func=_flux, name="flux")
