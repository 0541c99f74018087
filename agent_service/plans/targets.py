"""Which device goes where, by the names that devices call themselves; and the runs that measure there.

It imports no more than bluesky, for blueapi's environment, which has nothing else, needs it too.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bluesky.plans as bp

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence


def targets(point: Mapping[str, Any], devices: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return the devices that a point has positions for, each with its own, in the order of the devices.

    What has an underscore before it, as ``_id``, is no position.

    Raises
    ------
    ValueError
        None of the devices calls itself as the point says: it would stay where it is, and count as moved.
    """
    names = [str(device.name) for device in devices]
    if missing := [key for key in point if key not in names and not key.startswith("_")]:
        given = ", ".join(names) or "none"
        raise ValueError(
            f"there is a position for {', '.join(missing)}, and no device that is to move calls itself so (there: "
            f"{given}); nothing moved. Write actuators as devices call themselves (device.name), and name variables of "
            "a queue server's profile so"
        )
    return [(device, point[name]) for name, device in zip(names, devices, strict=True) if name in point]


def measured(
    suggestions: Sequence[Mapping[str, Any]],
    actuators: Sequence[Any],
    sensors: Sequence[Any],
    metadata: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> Generator[Any, Any, tuple[str, ...]]:
    """Measure each suggestion in its own run, whose metadata is ``metadata(suggestion)``; see `library.acquire`."""
    uids: list[str] = []
    for suggestion, moved in [
        (suggestion, targets(suggestion, actuators)) for suggestion in suggestions
    ]:  # all, before anything moves
        about = {"plan_name": "acquire", **metadata(suggestion)}
        read: list[Any] = [*sensors, *(device for device in actuators if device.name not in suggestion)]
        if moved:
            where: list[Any] = [part for device, position in moved for part in (device, [position])]
            uid = yield from bp.list_scan(read, *where, md=about)
        else:
            uid = yield from bp.count(read, md=about)
        uids.append(uid)
    return tuple(uids)
