"""Which device goes where: the positions of a point, by the names that devices call themselves.

It imports nothing: blueapi's environment, which has no more than bluesky, needs it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
