"""What the devices say of their limits, places and units: asked off the event loop, within a deadline, and remembered.

A device may do I/O when it is asked, and hang. Each question has a thread of its own; one that is not answered in time
is left behind, its device is not asked again until it is, and what it said last holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import UnknownDevice
from agent_service.executors.detached import begin_detached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from agent_service.models import Ends, Point
    from agent_service.protocols import Devices, DeviceWords

ASK_WITHIN_S: Final = 2.0
"""How long a device may take to answer."""

_PLACE: Final = "the place of "
_UNITS: Final = "the units of "
_MOST_UNITS: Final = 10_000
"""Keys whose units are remembered; more than a beamline has."""

_Questions = dict[str, "Future[Any] | None"]

_log = logging.getLogger(__name__)


class DeviceLimits:
    """Asks devices, where there are any, and remembers what they said; from any thread.

    ``on_change`` is called with a device's name when it says something else than before, or nothing any more; in the
    event loop that asked last.
    """

    def __init__(self, devices: Devices | None, *, on_change: Callable[[str], None] = lambda name: None) -> None:
        self.stated: dict[str, Ends] = {}  # lowest and highest position by device, in its units, if it states any
        self.positions: dict[str, float] = {}  # when asked for last; NaN of one that could not be asked then
        self.unread: dict[str, str] = {}  # devices that do not say their limits now, and why; the last ones hold
        self.units: dict[str, str] = {}  # by key of a document, as devices or documents said last
        self.devices = devices
        self._on_change = on_change
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._hanging: dict[str, Future[Any]] = {}

    async def refresh(self, names: Iterable[str], *, places: Iterable[str] = (), described: Iterable[str] = ()) -> None:
        """Ask devices for limits, and others for places or units; returns when all answered, or too late."""
        self._loop = asyncio.get_running_loop()
        asked = self._ask(names, places)
        if (devices := self.devices) is not None:
            for name in dict.fromkeys(described):
                asked[_UNITS + name] = self._begin(_UNITS + name, lambda name=name: self._take_units(devices, name))
        under_way = [asyncio.wrap_future(question) for question in asked.values() if question is not None]
        if under_way:
            await asyncio.wait(under_way, timeout=ASK_WITHIN_S)
        self._note_silent(asked)

    def refresh_here(self, names: Iterable[str], *, places: Iterable[str] = ()) -> None:
        """Do what `refresh` does, and block."""
        asked = self._ask(names, places)
        wait([question for question in asked.values() if question is not None], timeout=ASK_WITHIN_S)
        self._note_silent(asked)

    async def refusals(self, point: Point) -> dict[str, str]:
        """Return why devices refuse their position of a point, by name; one that does not answer refuses nothing."""
        asked = self._begin_check(point)
        if asked is None:
            return {}
        await asyncio.wait([asyncio.wrap_future(asked)], timeout=ASK_WITHIN_S)
        return self._refused(point, asked)

    def refusals_here(self, point: Point) -> dict[str, str]:
        """Do what `refusals` does, and block."""
        asked = self._begin_check(point)
        if asked is None:
            return {}
        wait([asked], timeout=ASK_WITHIN_S)
        return self._refused(point, asked)

    async def wholes(self, actuators: Sequence[str], names: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
        """Return by actuator the devices that move with it, as far as that is said in time; see `wholes_by_ways`."""
        devices, question = self.devices, f"what {', '.join(actuators)} move"
        if devices is None:
            return wholes_by_ways(actuators, names)
        asked = self._begin(question, lambda: devices.wholes(actuators))
        if asked is None:
            return {}
        await asyncio.wait([asyncio.wrap_future(asked)], timeout=ASK_WITHIN_S)
        if not asked.done():
            self._left_behind(question, asked)
            return {}
        return {} if asked.exception() is not None else asked.result()

    def take(self, words: DeviceWords) -> None:
        """Note what devices said without being asked from here; on the event loop."""
        self._loop = asyncio.get_running_loop()
        for name, ends in words.limits.items():
            self._note(name, ends, "")
        for name, why in words.unread.items():
            self._note(name, self.stated.get(name), why)

    # how ----------------------------------------------------------------------------------------------------------

    def _ask(self, names: Iterable[str], places: Iterable[str]) -> _Questions:
        devices, asked = self.devices, _Questions()
        if devices is None:
            return asked
        for name in dict.fromkeys(names):
            asked[name] = self._begin(name, lambda name=name: self._take_limits(devices, name))
        for name in dict.fromkeys(places):
            place = f"{_PLACE}{name}"
            asked[place] = self._begin(place, lambda name=name: self._take_place(devices, name))
        return asked

    def _begin_check(self, point: Point) -> Future[Any] | None:
        devices = self.devices
        return None if devices is None else self._begin(_check(point), lambda: devices.refusals(point))

    def _begin(self, question: str, answer: Callable[[], Any]) -> Future[Any] | None:
        """Ask in a thread of its own; None while an earlier question like it hangs."""
        with self._lock:
            earlier = self._hanging.get(question)
            if earlier is not None and not earlier.done():
                return None
            self._hanging.pop(question, None)
        return begin_detached(answer, name=f"asking:{question}")

    def _take_limits(self, devices: Devices, name: str) -> None:
        try:
            ends = devices.limits(name)
        except UnknownDevice:  # who wants to move it says so
            ends = None
        except Exception as error:  # noqa: BLE001 - whatever a device raises
            self._note(name, self.stated.get(name), f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])
            return
        self._note(name, None if ends == (None, None) else ends, "")

    def _take_place(self, devices: Devices, name: str) -> None:
        try:
            position = devices.position(name)
        except UnknownDevice:
            position = None
        except Exception:  # noqa: BLE001 - whatever a device raises
            position = math.nan
        if position is None:
            self.positions.pop(name, None)
        else:
            self.positions[name] = position

    def _take_units(self, devices: Devices, name: str) -> None:
        with contextlib.suppress(Exception):  # it describes nothing now, and its documents will
            self.note_units(devices.units(name))

    def note_units(self, units: Mapping[str, str]) -> None:
        """Remember units by key, as a device or a descriptor states them; from any thread."""
        if len(self.units) < _MOST_UNITS:
            self.units |= units

    def _note_silent(self, asked: Mapping[str, Future[Any] | None]) -> None:
        for question, future in asked.items():
            if future is None or not future.done():
                self._left_behind(question, future)
                if question.startswith(_UNITS):
                    continue
                if question.startswith(_PLACE):
                    self.positions[question.removeprefix(_PLACE)] = math.nan  # where it was says nothing of where it is
                else:
                    self._note(question, self.stated.get(question), f"no answer within {ASK_WITHIN_S:g} s")

    def _left_behind(self, question: str, future: Future[Any] | None) -> None:
        if future is not None:
            with self._lock:
                self._hanging[question] = future

    def _refused(self, point: Point, asked: Future[Any]) -> dict[str, str]:
        if not asked.done():
            self._left_behind(_check(point), asked)
            _log.warning(
                "%s: no answer within %g s; their limits as they said them last hold", _check(point), ASK_WITHIN_S
            )
            return {}
        error = asked.exception()
        if error is not None:
            return {}  # a device is not there any more: the plan says so
        return asked.result()

    def _note(self, name: str, ends: Ends | None, silent: str) -> None:
        with self._lock:
            before = self.stated.get(name), self.unread.get(name, "")
            if ends is None:
                self.stated.pop(name, None)
            else:
                self.stated[name] = ends
            if silent:
                self.unread[name] = silent
            else:
                self.unread.pop(name, None)
        if (ends, silent) != before:
            if silent:
                held = "what it said last holds" if ends else "none are known"
                _log.warning("device %s does not say its limits: %s; %s", name, silent, held)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._on_change, name)


def wholes_by_ways(actuators: Iterable[str], names: Mapping[str, str]) -> dict[str, list[str]]:
    """Return which devices each actuator is a part of, by the way to it; ``names`` has those that were written so."""
    ways = {name: names.get(name, name).split(".") for name in actuators}
    return {name: [".".join(way[:end]) for end in range(1, len(way))] for name, way in ways.items()}


def _check(point: Point) -> str:
    return f"whether {', '.join(point)} refuse a position"
