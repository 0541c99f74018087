"""Seams of devices: what the devices of a sink say, and the signals of conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import Ends, Point

READBACKS: Final = ("_user_readback", "-user_readback", "_readback", "-readback")
"""What ophyd and ophyd-async append to a device's name for a readback that has not that name itself."""

SETPOINTS: Final = ("_user_setpoint", "-user_setpoint", "_setpoint", "-setpoint")
"""What they append for a device that also reads its setpoint."""


class Devices(Protocol):
    """The devices that a sink moves, for guardrails; from any thread. Calls may block for long.

    Each method raises `UnknownDevice` for a name that no actuator has, and otherwise whatever the device raises.
    """

    def check(self, name: str) -> None:
        """Raise `UnknownDevice` unless there is an actuator of that name; ask no device."""
        ...

    def limits(self, name: str) -> Ends:
        """Return the lowest and highest position that a device states, each None if it states none."""
        ...

    def position(self, name: str) -> float | None:
        """Return a device's position, in its units; NaN if it cannot be read now, None if it has none."""
        ...

    def units(self, name: str) -> dict[str, str]:
        """Return the units that an actuator or a sensor states, by the keys of its documents."""
        ...

    def wholes(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return by actuator the names of the devices that move with it, as those it is a part of; ask no device."""
        ...

    def refusals(self, point: Point) -> dict[str, str]:
        """Return why devices refuse their position in ``point``, by name; move nothing."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceWords:
    """What the devices of a point said when it was checked, by name."""

    limits: Mapping[str, Ends | None]  # None: the device states none
    unread: Mapping[str, str]  # why a device does not say its limits
    refusals: Mapping[str, str]  # why a device refuses its position


@dataclass(frozen=True, slots=True)
class SignalReading:
    """The value of a signal, sent by itself or in answer to a read. Times are in seconds since 1970."""

    value: float | str | None  # None: it cannot be read now
    at: float  # since when it has this value, as the signal says
    arrived_at: float  # when it arrived here
    asked_at: float | None = None  # when it was asked, if it was: the value held after that
    units: str = ""
    fault: str = ""  # why there is no value, in one line
    watched_since: float | None = None  # since when it is watched without a break, as far as known
    tells_changes: bool = False  # whether it also sends each change by itself, perhaps late


class SignalWatch(Protocol):
    """A watched signal; from any thread, and nothing blocks."""

    def ask(self) -> None:
        """Ask the signal now, before its time; the answer is a reading like any other."""
        ...

    def stop(self) -> None:
        """Stop watching; harmless the second time."""
        ...


class Signals(Protocol):
    """The signals of conditions, where the devices live."""

    def check(self, name: str) -> None:
        """Raise `UnknownDevice`, naming what is near, unless there is a signal of that name."""
        ...

    def watch(
        self, name: str, on_reading: Callable[[SignalReading], None], *, since: float | None = None
    ) -> SignalWatch:
        """Call ``on_reading``, in some thread, with what a signal sends by itself, and with its answers.

        It is asked about once a second. If it cannot be asked, that is a reading with a fault. If it was watched while
        the service was away, its readings after ``since``, in seconds since 1970, come first. Never raises.
        """
        ...
