"""A startup module with devices that are moved by whole numbers: a sample changer that refuses anything else."""

from ophyd.sim import SynAxis, SynSignal


class Changer(SynAxis):
    """Takes whole numbers only, and remembers what it was sent, as it came."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.sent = []

    def set(self, value):
        self.sent.append(value)
        if type(value) is not int:
            msg = f"{self.name} takes whole numbers, not {value!r}"
            raise TypeError(msg)
        return super().set(value)


slot = Changer(name="slot")
height = SynAxis(name="height")
counts = SynSignal(func=lambda: 10.0 - (slot.readback.get() - 4) ** 2 - height.readback.get(), name="counts")
