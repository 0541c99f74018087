"""Asks a device for its limits, and whether it takes a position, in ophyd's ways and in ophyd-async's.

Any question may do I/O, block, or raise: ask in a separate thread. Devices are recognised by what they can do.
Sources: ophyd's ``PositionerBase.limits`` and ``check_value``, ``EpicsMotor.low_limit_travel``; bluesky's ``Checkable``
and ``check_limits``; ophyd-async's ``Motor`` and ``event_model.Limits``.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.errors import texts
from agent_service.models.real_numbers import real
from agent_service.models.values import is_number, text_of
from agent_service.protocols import READBACKS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from agent_service.models import Ends, Value

    Await = Callable[[Awaitable[Any]], Any]
    Ask = Callable[[Coroutine[Any, Any, Any], float], Any]

_CANNOT_SAY: Final = frozenset({"TimeoutError", "ConnectionError", "DisconnectedError", "NotConnectedError"})
"""Errors of a device that cannot be asked now, as ophyd, ophyd-async and Python call them."""

_SETPOINTS: Final = ("setpoint", "user_setpoint")
"""What ophyd and ophyd-async call the part of a positioner that moves it."""

_LONGEST_UNITS: Final = 40

_END_NAMES: Final = (("low", "high"), ("lower", "upper"), ("min", "max"))
"""What the ends of limits are called where they have names, as keys or attributes."""


def awaiting(ask: Ask, within_s: float) -> Await:
    """Return a function that awaits what a device of ophyd-async answers, for ``within_s`` seconds at most.

    ``ask(coroutine, timeout_s)`` runs a coroutine in the event loop that the devices live in.
    """

    async def awaited(answer: Awaitable[Any]) -> Any:
        return await answer

    return lambda answer: ask(awaited(answer), within_s)


def limits_of(device: Any, await_: Await) -> Ends:
    """Return the lowest and the highest position that a device states, each None when it states none.

    ``(0, 0)``, ends that are equal or the wrong way round, NaN and infinities mean none, as in EPICS and ophyd. Where a
    device states limits in several places, as a motor and its setpoint do, the narrowest count. The setpoint of a motor
    moves the motor, so the motor's hold for it. Raises whatever the device raised, when it stated nothing besides.
    """
    failed: Exception | None = None
    stated: list[Ends] = []
    for way in (_attribute, _named, _travel, _described, _of_whole):
        try:
            stated += [_ends(low, high) for low, high in way(device, await_)]
        except Exception as error:  # noqa: BLE001 - whatever a device raises
            failed = failed or error
    lows = [low for low, _ in stated if low is not None]
    highs = [high for _, high in stated if high is not None]
    if failed is not None and not lows and not highs:
        raise failed
    return max(lows, default=None), min(highs, default=None)


def units_of(device: Any, await_: Await) -> dict[str, str]:
    """Return the units that a device describes, by the keys that its documents have; nothing where it states none.

    The readback has its device's name besides. Raises whatever the device raises.
    """
    described = device.describe()
    fields = cast("Mapping[str, Any]", await_(described) if inspect.isawaitable(described) else described)
    return units_in(fields)


def units_in(data_keys: Mapping[str, Any]) -> dict[str, str]:
    """Return units by key, of the keys of a descriptor that state any; of a readback by its device's name, too."""
    stated: dict[str, str] = {}
    for key, field in data_keys.items():
        units = cast("Any", field).get("units") if isinstance(field, Mapping) else None
        if isinstance(units, str) and 0 < len(units) <= _LONGEST_UNITS:
            stated[key] = units
    endings = [(key, end) for key in stated for end in READBACKS if key.endswith(end)]
    readbacks = {key.removesuffix(end): stated[key] for key, end in endings}
    return readbacks | stated


def refusals(devices: Mapping[str, Any], point: Mapping[str, Value], await_: Await) -> dict[str, str]:
    """Return why devices refuse their position of a point, by actuator, as their ``check_value`` says; moves nothing.

    A device without ``check_value``, and one that cannot be asked now, refuses nothing. Pseudo axes of one positioner
    are asked together, for the place of one depends on the others'.
    """
    reasons: dict[str, str] = {}
    devices = {name: device for name, device in devices.items() if name in point}
    unasked = dict(devices)
    for name, device in devices.items():
        axes = {axis_name: axis for axis_name, axis in unasked.items() if _same_parent(device, axis)}
        if name in unasked and len(axes) > 1:
            parent = device.parent
            place = {axis.attr_name: point[axis_name] for axis_name, axis in axes.items()}
            why = _refusal(lambda whole=parent, at=place: whole.check_value(whole.target._replace(**at)), await_)
            reasons |= dict.fromkeys(axes, why) if why else {}
            unasked = {other: device for other, device in unasked.items() if other not in axes}
    for name, device in unasked.items():
        if callable(check := getattr(device, "check_value", None)) and (
            why := _refusal(lambda check=check, at=point[name]: check(at), await_)
        ):
            reasons[name] = why
    return reasons


def why_not(devices: Mapping[str, Any], point: Mapping[str, Value], await_: Await) -> str:
    """Return why a point cannot be measured with these devices: by the limits that they state, or their own word."""
    outside: dict[str, str] = {}
    devices = {name: device for name, device in devices.items() if name in point}
    for name, device in devices.items():
        try:
            low, high = limits_of(device, await_)
        except Exception:  # noqa: BLE001, S112 - it cannot be asked now, and refuses nothing
            continue
        at = cast("Any", point[name])
        if (low, high) != (None, None) and not (
            is_number(at) and (low is None or low <= at) and (high is None or at <= high)
        ):
            ends = f"[{'-inf' if low is None else f'{low:g}'}, {'inf' if high is None else f'{high:g}'}]"
            outside[name] = f"{name} = {text_of(at)} is outside {ends}, the limits that the device states"
    inside = {name: device for name, device in devices.items() if name not in outside}
    refused = [
        f"the device refuses {name} = {text_of(point[name])}: {why}"
        for name, why in refusals(inside, point, await_).items()
    ]
    return "; ".join([*outside.values(), *refused])


def _refusal(check: Callable[[], Any], await_: Await) -> str:
    try:
        answer = check()
        if inspect.isawaitable(answer):
            await_(answer)
    except NotImplementedError:
        return ""
    except Exception as error:  # noqa: BLE001 - any exception is the refusal, as bluesky's Checkable has it
        if _CANNOT_SAY.isdisjoint(kind.__name__ for kind in type(error).__mro__):
            return texts.describe(error)
    return ""


def _same_parent(device: Any, other: Any) -> bool:
    parent = getattr(device, "parent", None)
    return parent is not None and hasattr(parent, "PseudoPosition") and getattr(other, "parent", None) is parent


def _ends(low: object, high: object) -> Ends:
    lowest, highest = real(low), real(high)
    if lowest is not None and highest is not None and lowest >= highest:
        return None, None
    return lowest, highest


# ways in which a device states its limits ---------------------------------------------------------------------------


def _attribute(device: Any, await_: Await) -> list[tuple[object, object]]:
    """Return what ophyd's positioners and signals have as ``limits``; others a method of that name, or named ends."""
    if not (hasattr(type(device), "limits") or "limits" in getattr(device, "__dict__", {})):
        return []
    stated = _value(device.limits, await_)
    if callable(stated):
        stated = stated()
        stated = await_(stated) if inspect.isawaitable(stated) else stated
    return [] if stated is None else [_two(stated)]


def _named(device: Any, await_: Await) -> list[tuple[object, object]]:
    try:
        return _pair(device, "low_limit", "high_limit", await_)
    except TypeError:  # ophyd's positioners look them up in their `limits`, which may be None
        return []


def _travel(device: Any, await_: Await) -> list[tuple[object, object]]:
    """Return the limits of a motor record, ophyd's or ophyd-async's."""
    return _pair(device, "low_limit_travel", "high_limit_travel", await_)


def _described(device: Any, await_: Await) -> list[tuple[object, object]]:
    """Return the control limits in what a device of ophyd-async, and its setpoint, describe."""
    setpoint: Any = getattr(getattr(device, "movable_logic", None), "setpoint", None)
    limits: list[tuple[object, object]] = []
    for described in (device, setpoint):
        if inspect.iscoroutinefunction(getattr(described, "describe", None)):
            fields = cast("dict[str, Any]", await_(described.describe()))
            control = fields.get(described.name, {}).get("limits", {}).get("control") or {}
            limits.append((control.get("low"), control.get("high")))
    return limits


def _of_whole(device: Any, await_: Await) -> list[tuple[object, object]]:
    """Return the limits of the device that this one is the setpoint of."""
    whole = getattr(device, "parent", None)
    if whole is None or all(getattr(whole, name, None) is not device for name in _SETPOINTS):
        return []
    return [limits_of(whole, await_)]


def _two(stated: Any) -> tuple[object, object]:
    """Return the two ends of limits, in a pair or by their names; raise `TypeError` when they are neither."""
    for low, high in _END_NAMES:
        if isinstance(stated, Mapping):
            if low in stated or high in stated:
                return stated.get(low), stated.get(high)
        elif hasattr(stated, low) and hasattr(stated, high) and not callable(getattr(stated, low)):
            return getattr(stated, low), getattr(stated, high)
    if hasattr(stated, "__len__") and len(stated) == 2 and not isinstance(stated, Mapping):  # noqa: PLR2004 - a pair
        return stated[0], stated[1]
    raise TypeError(f"its limits are of type {type(stated).__name__}, not a lowest and a highest position")


def _pair(device: Any, low: str, high: str, await_: Await) -> list[tuple[object, object]]:
    ends = [_value(getattr(device, name, None), await_) for name in (low, high)]
    return [(ends[0], ends[1])]


def _value(signal: Any, await_: Await) -> Any:
    """Return the value that a signal has now; what is no signal is the value itself."""
    if hasattr(signal, "get_value"):  # ophyd-async's; its soft and mock signals too
        return await_(signal.get_value())
    if hasattr(signal, "get") and hasattr(signal, "name"):
        return signal.get()
    return signal
