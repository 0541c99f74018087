"""Bluesky plans for a beamline's blueapi, typed as it asks for it: ``acquire`` and ``move_to``.

The worker of blueapi imports this module: its configuration names it as a source of plans. It needs bluesky and nothing
else, so that this package can be installed there without what it depends on (``pip install --no-deps``).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownParameterType=false
# pyright: reportMissingTypeArgument=false, reportAttributeAccessIssue=false
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

__all__ = ["acquire", "move_to"]


def acquire(
    suggestions: list[dict[str, float]],
    actuators: list[Movable],
    sensors: list[Readable],
    md: dict[str, Any] | None = None,
) -> MsgGenerator:
    """Measure each suggestion in a run of its own: move there, then read sensors and actuators once.

    Parameters
    ----------
    suggestions
        Each holds a position for every actuator, by its name and in its unit.
    actuators
        Devices to move; they move together.
    sensors
        Devices to read, in the stream ``primary``, which holds the actuators too.
    md
        Metadata for every start document; the suggestion's id is in it, as ``agent_suggestion_uid``.

    Returns
    -------
    tuple of str
        The runs' uids.
    """
    uids: list[str] = []
    for suggestion in suggestions:
        about = {"plan_name": "acquire", **(md or {})}
        if actuators:
            where: list[Any] = [part for device in actuators for part in (device, [suggestion[device.name]])]
            uid = yield from bp.list_scan(sensors, *where, md=about)
        else:
            uid = yield from bp.count(sensors, md=about)
        uids.append(uid)
    return tuple(uids)


def move_to(point: dict[str, float], devices: list[Movable], md: dict[str, Any] | None = None) -> MsgGenerator:
    """Move devices to a point, together and without a run; ``md`` says who asked for it.

    Parameters
    ----------
    point
        Position of each device, by its name and in its unit.
    devices
        The devices to move.
    """
    where: list[Any] = [part for device in devices for part in (device, point[device.name])]
    yield from bps.mv(*where)
