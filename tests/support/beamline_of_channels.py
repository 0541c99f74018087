"""A startup whose actuators are EPICS channels: texts, a record of states, whole numbers, a switch; and a detector."""

from ophyd import EpicsSignal
from ophyd.sim import SynSignal

filt = EpicsSignal("typed:filt", name="filt", string=True)
label = EpicsSignal("typed:label", name="label", string=True)
turns = EpicsSignal("typed:turns", name="turns")
lamp = EpicsSignal("typed:lamp", name="lamp")
for signal in (filt, label, turns, lamp):
    signal.wait_for_connection(timeout=20)


def _flux():
    return {"Al": 1.0, "Ti": 3.0}.get(filt.get(), 0.0) + turns.get() + 0.5 * lamp.get()


flux = SynSignal(func=_flux, name="flux")
