"""The signals of a namespace of this process, as conditions watch them. See `protocols.Signals`.

Each has a thread of its own: what hangs is felt by nobody else. A signal of Channel Access says by itself that its
value changed, and not that its server hangs; so it is asked, too, past the value that the monitor left. One answer that
does not come says little where a device held the interpreter meanwhile: it is asked once more before that is told.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import contextlib
import inspect
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import texts
from agent_service.models.guardrail_rules import shown
from agent_service.models.real_numbers import real
from agent_service.plans.device_settings import awaiting
from agent_service.protocols import READBACKS, SignalReading

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.plans.device_settings import Ask, Await
    from agent_service.plans.namespace import Namespace

ASKED_EVERY_S: Final = 1.0
_ANSWERS_WITHIN_S: Final = 3.0
_TRIES: Final = 2
_INVALID: Final = 3
"""The severity of EPICS of a value that nobody vouches for, as ophyd tells it; lower ones are of values that are so."""


class NamespaceSignals:
    """Signals by name; ``ask`` is as for `awaiting`."""

    def __init__(self, namespace: Namespace, ask: Ask) -> None:
        self._namespace = namespace
        self._await = awaiting(ask, _ANSWERS_WITHIN_S)

    def check(self, name: str) -> None:
        """Raise `UnknownDevice` unless there is a signal of that name."""
        self._namespace.device(name)

    def watch(
        self, name: str, on_reading: Callable[[SignalReading], None], *, since: float | None = None
    ) -> WatchedSignal:
        """Begin to watch a signal; nobody did before."""
        return WatchedSignal(name, lambda: self._namespace.device(name), self._await, on_reading)


class WatchedSignal:
    """One signal that is watched, until `stop`."""

    def __init__(
        self, name: str, find: Callable[[], Any], await_: Await, on_reading: Callable[[SignalReading], None]
    ) -> None:
        self._find = find
        self._await = await_
        self._on_reading = on_reading
        self._units: str | None = None
        self._since: float | None = None
        self._tells_changes = False
        self._stopped = False
        self._due = threading.Event()
        threading.Thread(target=self._main, name=f"signal:{name}", daemon=True).start()

    def ask(self) -> None:
        """Ask the signal now."""
        self._due.set()

    def stop(self) -> None:
        """Watch it no more; its thread ends when the signal has answered."""
        self._stopped = True
        self._due.set()

    def _main(self) -> None:
        device: Any = None
        tries = _TRIES
        while not self._stopped:
            self._due.clear()
            asked_at = time.time()
            tries -= 1
            try:
                if device is None:
                    signal = self._find()
                    self._subscribe(signal)
                    device = signal
                value, at, alarm = _answer(device, self._await)
                if self._units is None:
                    with contextlib.suppress(Exception):  # one that cannot describe itself, or not yet, says its value
                        self._units = _units(device, self._await)
            except Exception as error:  # noqa: BLE001 - whatever a signal raises: it counts as one that is not there
                if isinstance(error, TimeoutError) and device is not None and tries:
                    continue
                self._tell(None, fault=texts.one_line(texts.describe(error)), asked_at=asked_at)
            else:
                if self._since is None:  # it was subscribed to before it was asked
                    self._since = asked_at
                self._tell(value, at, asked_at=asked_at, alarm=alarm)
            tries = _TRIES
            self._due.wait(ASKED_EVERY_S)
        if device is not None:
            with contextlib.suppress(Exception):
                self._unsubscribe(device)

    def _tell(
        self, value: Any, at: Any = None, *, asked_at: float | None = None, fault: str = "", alarm: str = ""
    ) -> None:
        number = int(value) if _is_truth_value(value) else real(value)
        # a member of an enumeration may print its name
        known = str.__str__(value) if isinstance(value, str) else number
        if known is None and not fault:
            fault = f"it says {texts.one_line(str(value), most=60)}, neither a number nor a text"
        elif alarm:
            said = shown(float(known)) if isinstance(known, int | float) else texts.one_line(str(known), most=60)
            known, fault = None, f"it says {said}, with an alarm of severity {alarm}"
        arrived_at = time.time()
        when = real(at)
        reading = SignalReading(
            known,
            arrived_at if when is None else float(when),
            arrived_at,
            asked_at,
            self._units or "",
            fault,
            watched_since=self._since,
            tells_changes=self._tells_changes,
        )
        if not self._stopped:
            self._on_reading(reading)

    # what it says by itself ---------------------------------------------------------------------------------------

    def _subscribe(self, device: Any) -> None:
        if hasattr(type(device), "SUB_VALUE"):  # ophyd
            device.subscribe(self._changed, event_type=device.SUB_VALUE, run=False)
            self._tells_changes = hasattr(type(device), "pvname")  # another's value may be computed when it is asked
            if hasattr(type(device), "SUB_META"):
                device.subscribe(self._connection_changed, event_type=device.SUB_META, run=False)
        elif hasattr(device, "subscribe_reading"):  # ophyd-async; it wants to be called where the device lives
            self._await(_called(device.subscribe_reading, self._read))

    def _unsubscribe(self, device: Any) -> None:
        if hasattr(type(device), "SUB_VALUE"):
            for callback in (self._changed, self._connection_changed):
                device.clear_sub(callback)
        elif hasattr(device, "subscribe_reading"):
            self._await(_called(device.clear_sub, self._read))

    def _changed(
        self, *, value: Any = None, timestamp: Any = None, severity: Any = None, status: Any = None, **_: Any
    ) -> None:
        self._tell(value, timestamp, alarm=_alarm_of_epics(severity, status))
        if value is None:  # ophyd does not know yet what an enumeration's number means
            self.ask()

    def _connection_changed(self, *, connected: bool = True, **_: Any) -> None:
        if connected:
            self.ask()
        else:
            self._tell(None, fault="it is disconnected")

    def _read(self, readings: Any) -> None:
        reading = next(iter(readings.values()))
        self._tell(reading["value"], reading.get("timestamp"), alarm=_alarm_of(reading))


def _alarm_of_epics(severity: Any, status: Any) -> str:
    """Return what EPICS says of a value that nobody vouches for, as ophyd tells it; an empty text of any other."""
    return f"INVALID ({getattr(status, 'name', status)})" if severity == _INVALID else ""


def _alarm_of(reading: Any) -> str:
    """Do as `_alarm_of_epics` for a reading of bluesky, whose severity is negative then."""
    severity = real(reading.get("alarm_severity"))
    return "INVALID" if severity is not None and severity < 0 else ""


def _is_truth_value(value: Any) -> bool:
    kind = getattr(getattr(value, "dtype", None), "kind", None)  # numpy's
    return isinstance(value, bool) or (kind == "b" and getattr(value, "shape", None) == ())


async def _called(function: Callable[[Any], object], argument: object) -> None:
    function(argument)


def _answer(device: Any, await_: Await) -> tuple[Any, Any, str]:
    """Return a signal's value, asked of whatever has it, since when it is so, and its alarm if that says it is not."""
    if hasattr(type(device), "SUB_META"):  # a signal of ophyd
        try:
            value = device.get(use_monitor=False)
        except TypeError:  # of a class that takes nothing
            value = device.get()
        known = getattr(device, "metadata", {})  # one that is derived from another has that one's alarm
        return value, getattr(device, "timestamp", None), _alarm_of_epics(known.get("severity"), known.get("status"))
    takes_cached = hasattr(device, "subscribe_reading")  # ophyd-async
    reading = device.read(cached=False) if takes_cached else device.read()
    readings = await_(reading) if inspect.isawaitable(reading) else reading
    names = [device.name, *(f"{device.name}{ending}" for ending in READBACKS), *readings]
    first = next(readings[name] for name in names if name in readings)
    return first["value"], first.get("timestamp"), _alarm_of(first)


def _units(device: Any, await_: Await) -> str:
    answer = device.describe()
    described = await_(answer) if inspect.isawaitable(answer) else answer
    return str(next(iter(described.values()), {}).get("units") or "")
