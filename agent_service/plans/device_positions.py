"""Where devices say that they are, in ophyd's ways and in ophyd-async's, and what they are parts of.

Whatever is asked may do I/O, block, or raise: ask in a thread of its own.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import inspect
import logging
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import texts
from agent_service.models.real_numbers import real
from agent_service.plans.device_settings import awaiting
from agent_service.protocols import READBACKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent_service.plans.device_settings import Ask, Await

_ANSWERS_WITHIN_S: Final = 5.0
"""How long a device of ophyd-async may take to say where it is, right before a plan begins."""

_log = logging.getLogger(__name__)


def positions_of(devices: Iterable[Any], ask: Ask) -> dict[str, float]:
    """Return where devices are, by their names, in their units; ``ask`` is as for `awaiting`.

    NaN of a device that should know and cannot be asked now; nothing of one that has no position.
    """
    await_ = awaiting(ask, _ANSWERS_WITHIN_S)
    positions = {str(device.name): position_of(device, await_) for device in devices}
    return {name: position for name, position in positions.items() if position is not None}


def position_of(device: Any, await_: Await) -> float | None:
    """Return where a device is, in its units. Never raises.

    ophyd's say it as ``position``, ophyd-async's by ``locate``; of any other, as a signal, the readback counts. NaN of
    a device that should know and cannot be asked now; None of one that has no position.
    """
    failed = False
    for way in (_last_position, _located, _read):
        try:
            position = real(way(device, await_))
        except Exception as error:  # noqa: BLE001 - whatever a device raises
            _log.warning("device %s does not say where it is: %s", device.name, texts.describe(error))
            failed = True
        else:
            if position is not None:
                return position
    return math.nan if failed else None


def wholes_of(devices: Iterable[Any], same: Callable[[Any], Iterable[str]] = lambda device: ()) -> dict[str, list[str]]:
    """Return by name of a device the names of what moves with it, as ophyd's and ophyd-async's say it.

    Those that it is a part of, of a pseudo axis the real ones beside it, as of a real one the pseudo axes, and what has
    the ``same`` setpoint.
    """
    wholes: dict[str, list[str]] = {}
    for device in devices:
        above: list[Any] = []
        whole = getattr(device, "parent", None)
        while whole is not None and all(whole is not known for known in above):
            above.append(whole)
            whole = getattr(whole, "parent", None)
        beside = [axis for axis, parent in pairwise([device, *above]) for axis in _coupled(axis, parent)]
        names = [str(getattr(device, "name", "")) for device in (*above, *beside)]
        names += [name for name in same(device) if name not in names]
        if names:
            wholes[str(device.name)] = names
    return wholes


def _coupled(axis: Any, parent: Any) -> list[Any]:
    """Return the axes of a pseudo positioner that move when one of its others does."""
    try:
        pseudo, real_ones = list(parent.pseudo_positioners), list(parent.real_positioners)
    except Exception:  # noqa: BLE001 - it is none, or a device raises whatever it likes
        return []
    if any(axis is positioner for positioner in pseudo):
        return real_ones
    return pseudo if any(axis is positioner for positioner in real_ones) else []


# ways in which a device says where it is ----------------------------------------------------------------------------


def _last_position(device: Any, await_: Await) -> object:
    """Return what a positioner of ophyd heard last."""
    return getattr(device, "position", None)


def _located(device: Any, await_: Await) -> object:
    return _answered(device.locate(), await_)["readback"] if hasattr(device, "locate") else None


def _read(device: Any, await_: Await) -> object:
    if not hasattr(device, "read"):
        return None
    reading = _answered(device.read(), await_)
    names = [device.name, *(f"{device.name}{ending}" for ending in READBACKS)]
    if len(reading) == 1:
        names += reading
    return next((reading[name]["value"] for name in names if name in reading), None)


def _answered(answer: Any, await_: Await) -> Any:
    return await_(answer) if inspect.isawaitable(answer) else answer
