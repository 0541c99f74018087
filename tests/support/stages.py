"""A startup of real devices inside others: an ophyd stage, ophyd-async devices connected without a RunEngine here."""

from ophyd import Component, Device
from ophyd.sim import SynAxis, SynSignal
from ophyd_async.core import StandardReadable, derived_signal_r, init_devices
from ophyd_async.sim import SimMotor


class Stage(Device):
    x = Component(SynAxis)
    y = Component(SynAxis)


class Table(StandardReadable):
    def __init__(self, name=""):
        with self.add_children_as_readables():
            self.x = SimMotor()
            self.y = SimMotor()
        super().__init__(name=name)


class Detector(StandardReadable):
    """Reads 1 - (x - 1)^2 - y^2 of a table."""

    def __init__(self, table, name=""):
        with self.add_children_as_readables():
            self.signal = derived_signal_r(_signal, x=table.x.user_readback, y=table.y.user_readback)
        super().__init__(name=name)


def _signal(x: float, y: float) -> float:
    return 1 - (x - 1) ** 2 - y**2


stage = Stage(name="stage")
stage_x = "a note of somebody, no device"
sensors = {"signal": SynSignal(name="stage_signal", func=lambda: 1 - (stage.x.position - 1) ** 2 - stage.y.position**2)}

with init_devices():
    table = Table()
    spare = [SimMotor(name="spare_a"), SimMotor(name="spare_b")]
    detector = Detector(table)
