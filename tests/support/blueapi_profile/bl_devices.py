"""The devices of the test's blueapi: simulated ones, by a device manager that is no more than blueapi asks for."""

import asyncio
from types import SimpleNamespace

from bluesky.run_engine import call_in_bluesky_event_loop
from ophyd_async.core import derived_signal_r, soft_signal_rw

motor = soft_signal_rw(float, name="motor")
other_axis = soft_signal_rw(float, name="other_axis")


def _seen(position: float) -> float:
    return -(position**2)


det = derived_signal_r(_seen, position=motor)
det.set_name("det")
nothing = soft_signal_rw(float, float("nan"), name="nothing")
DEVICES = [motor, other_axis, det, nothing]


class Devices:
    def build_and_connect(self, *, mock=False, timeout=None, fixtures=None):
        async def connect() -> None:
            await asyncio.gather(*(one.connect() for one in DEVICES))

        call_in_bluesky_event_loop(connect())
        return SimpleNamespace(devices={one.name: one for one in DEVICES}, build_errors={}, connection_errors={})


devices = Devices()
