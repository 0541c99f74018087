"""Bluesky plans: ``acquire``, the default, and ``move_to``, the move that go-to-best makes.

They run in the RunEngine's thread.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp

from agent_service.models import ID_KEY

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence


def acquire(
    suggestions: Sequence[Mapping[str, Any]],
    actuators: Sequence[Any],
    sensors: Sequence[Any] = (),
    md: Mapping[str, Any] | None = None,
) -> Generator[Any, Any, tuple[str, ...]]:
    """Measure each suggestion in a run of its own: move there, then read sensors and actuators once.

    Parameters
    ----------
    suggestions
        Each holds a position for every actuator, by its name and in its unit, and its id as ``_id``.
    actuators
        Devices to move; they move together.
    sensors
        Devices to read, in the stream ``primary``, which holds the actuators too.
    md
        Metadata for every start document; the suggestion's id is added as ``agent_suggestion_uid``.

    Returns
    -------
    tuple of str
        The runs' uids.
    """
    uids: list[str] = []
    for suggestion in suggestions:
        about = {"plan_name": "acquire", **(md or {})}
        if ID_KEY in suggestion:
            about["agent_suggestion_uid"] = suggestion[ID_KEY]
        if actuators:
            where: list[Any] = [part for device in actuators for part in (device, [suggestion[device.name]])]
            uid = yield from bp.list_scan(list(sensors), *where, md=about)
        else:
            uid = yield from bp.count(list(sensors), md=about)
        uids.append(uid)
    return tuple(uids)


def move_to(point: Mapping[str, float], devices: Sequence[Any]) -> Generator[Any, Any, Any]:
    """Move devices to a point, together and without a run.

    Parameters
    ----------
    point
        Position of each device, by its name and in its unit.
    devices
        The devices to move.
    """
    where = [part for device in devices for part in (device, point[device.name])]
    return (yield from bps.mv(*where))
