"""Devices of the simulated beamline. Importing this imports ophyd."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUntypedBaseClass=false, reportUnknownParameterType=false

from __future__ import annotations

import functools
import random
import threading
import time
from dataclasses import dataclass
from typing import Any, Final, cast

from ophyd.positioner import SoftPositioner
from ophyd.sim import SynSignal
from ophyd.status import MoveStatus

from agent_service.plans.beamline import LIMITS_MM, measured_flux

_START_S: Final = 0.1
_PER_MM_S: Final = 0.03
_EXPOSURE_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class _Move:
    start_mm: float
    target_mm: float
    begun_s: float
    lasts_s: float
    timer: threading.Timer
    status: MoveStatus

    def position_mm(self) -> float:
        """Where the axis is now; the timer may be late, so the way never goes past its end."""
        done = min(1.0, (time.monotonic() - self.begun_s) / self.lasts_s)
        return self.start_mm + done * (self.target_mm - self.start_mm)


class MirrorAxis(SoftPositioner):
    """A mirror axis that takes a moment to move, in mm; a move can be stopped on its way. Its name is its field."""

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name, egu="mm", limits=LIMITS_MM, source="simulated", kind="hinted")
        self._lock = threading.Lock()
        self._move: _Move | None = None
        self._position = 0.0

    @property
    def position(self) -> float:
        """Present position, in mm, on the way too. May be read from any thread."""
        with self._lock:
            return self._position if self._move is None else self._move.position_mm()

    @property
    def moving(self) -> bool:
        """Whether it is on its way."""
        return self._move is not None

    def move(self, position: Any, wait: bool = True, timeout: float | None = None, moved_cb: Any = None) -> MoveStatus:  # noqa: FBT001, FBT002 - ophyd's signature
        """Begin a move to ``position``, in mm, and return its status; a move under way fails.

        Raises `ophyd.utils.LimitError` when the position is outside the limits.
        """
        self.check_value(position)
        self._halt("was sent elsewhere", success=False)
        status = MoveStatus(self, position, timeout=timeout)
        if moved_cb is not None:
            status.add_callback(functools.partial(moved_cb, obj=self))
        start, target = self.position, float(position)
        lasts_s = _START_S + _PER_MM_S * abs(target - start)
        timer = threading.Timer(lasts_s, self._arrive)
        timer.daemon = True
        with self._lock:
            self._move = _Move(start, target, time.monotonic(), lasts_s, timer, status)
        timer.start()
        if wait:
            status.wait()
        return status

    def stop(self, *, success: bool = False) -> None:
        """Stop where it is; the status of the move under way fails unless ``success``."""
        self._halt("was stopped", success=success)

    def _arrive(self) -> None:
        with self._lock:
            move = self._move
            if move is None or move.timer is not threading.current_thread():
                # stopped, or sent elsewhere, at the last moment
                return
            self._position, self._move = move.target_mm, None
        self._set_position(move.target_mm)
        move.status.set_finished()

    def _halt(self, why: str, *, success: bool) -> None:
        with self._lock:
            move = self._move
            if move is None:
                return
            move.timer.cancel()
            self._position, self._move = move.position_mm(), None
        self._set_position(self._position)
        if success:
            move.status.set_finished()
        else:
            move.status.set_exception(RuntimeError(f"{self.name} {why} at {self._position:.3f} mm"))


class FluxMonitor(SynSignal):
    """A beam-flux monitor with noise, in 1e9 photons/s, of the beam that two axes steer. Its name is its only field."""

    def __init__(self, mirror_x: MirrorAxis, mirror_y: MirrorAxis, *, name: str, seed: int) -> None:
        self._mirrors = (mirror_x, mirror_y)
        self._noise = random.Random(seed)  # noqa: S311 - noise, not a secret
        exposure_s = cast("int", _EXPOSURE_S)  # ophyd's hint is narrower than what it takes
        super().__init__(self._measure, name=name, exposure_time=exposure_s, kind="hinted", labels={"detectors"})

    def describe(self) -> dict[str, Any]:
        """Describe the field, with its units."""
        described: dict[str, Any] = super().describe()
        described[self.name]["units"] = "1e9 photons/s"
        return described

    def _measure(self) -> float:
        x, y = (mirror.position for mirror in self._mirrors)
        return measured_flux(x, y, noise=self._noise)
