"""Where devices say that they are: asked in the driver's thread, right before a plan begins."""

from __future__ import annotations

import inspect
import logging
import math
from typing import TYPE_CHECKING, Any, Final

from agent_service.number import real
from agent_service.protocols import READBACKS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    Ask = Callable[[Coroutine[Any, Any, Any], float], Any]

_ANSWERS_WITHIN_S: Final = 5.0
"""How long a device of ophyd-async may take to say where it is."""

_log = logging.getLogger(__name__)


def positions_of(devices: Iterable[Any], ask: Ask) -> dict[str, float]:
    """Return where devices are, by their names, in their units.

    Parameters
    ----------
    devices
        ophyd's say it as ``position``, ophyd-async's by ``locate``; of any other, as a signal, the readback counts.
    ask
        ``ask(coroutine, timeout_s)`` awaits for a device.

    Returns
    -------
    dict
        NaN of a device that should know and cannot be asked now; nothing of one that has no position.
    """
    found: dict[str, float] = {}
    for device in devices:
        position = _position(device, ask)
        if position is not None:
            found[str(device.name)] = position
    return found


def wholes_of(devices: Iterable[Any]) -> dict[str, list[str]]:
    """Return by name of a device the names of those that it is a part of, as ophyd's and ophyd-async's say it."""
    found: dict[str, list[str]] = {}
    for device in devices:
        above: list[Any] = []
        whole = getattr(device, "parent", None)
        while whole is not None and all(whole is not one for one in above):
            above.append(whole)
            whole = getattr(whole, "parent", None)
        if above:
            found[str(device.name)] = [str(getattr(one, "name", "")) for one in above]
    return found


def _position(device: Any, ask: Ask) -> float | None:
    failed = False
    for way in (_heard, _located, _read):
        try:
            position = real(way(device, ask))
        except Exception as error:  # noqa: BLE001 - whatever a device raises
            _log.warning("device %s does not say where it is: %s: %s", device.name, type(error).__name__, error)
            failed = True
        else:
            if position is not None:
                return position
    return math.nan if failed else None


def _heard(device: Any, ask: Ask) -> object:
    """Return what an ophyd positioner heard last, which costs nothing."""
    return getattr(device, "position", None)


def _located(device: Any, ask: Ask) -> object:
    if not hasattr(device, "locate"):
        return None
    return _answered(device.locate(), ask)["readback"]


def _read(device: Any, ask: Ask) -> object:
    if not hasattr(device, "read"):
        return None
    reading = _answered(device.read(), ask)
    names = [device.name, *(f"{device.name}{ending}" for ending in READBACKS)]
    if len(reading) == 1:
        names += reading
    return next((reading[name]["value"] for name in names if name in reading), None)


def _answered(answer: Any, ask: Ask) -> Any:
    async def awaited() -> Any:
        return await answer

    return ask(awaited(), _ANSWERS_WITHIN_S) if inspect.isawaitable(answer) else answer
