"""Where devices say that they are: asked in the driver's thread, right before a plan begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_service.plans.device_settings import position_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    Ask = Callable[[Coroutine[Any, Any, Any], float], Any]

_ANSWERS_WITHIN_S: Final = 5.0
"""How long a device of ophyd-async may take to say where it is."""


def positions_of(devices: Iterable[Any], ask: Ask) -> dict[str, float]:
    """Return where devices are, by their names, in their units.

    Parameters
    ----------
    devices
        The devices.
    ask
        ``ask(coroutine, timeout_s)`` awaits for a device.

    Returns
    -------
    dict
        NaN of a device that should know and cannot be asked now; nothing of one that has no position.
    """

    def await_(answer: Awaitable[Any]) -> Any:
        async def awaited() -> Any:
            return await answer

        return ask(awaited(), _ANSWERS_WITHIN_S)

    found: dict[str, float] = {}
    for device in devices:
        position = position_of(device, await_)
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
