"""Bluesky plans for a beamline's blueapi, with the types that it needs: ``acquire`` and ``move_to``.

blueapi's worker imports this module: its configuration names it as a source of plans. It needs only bluesky, so this
package can be installed there without its dependencies (``pip install --no-deps``).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownParameterType=false
# pyright: reportMissingTypeArgument=false, reportAttributeAccessIssue=false, reportUnknownArgumentType=false
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from agent_service.plans.targets import measured, targets

__all__ = ["acquire", "move_to"]


def acquire(
    suggestions: list[dict[str, bool | int | float | str]],
    actuators: list[Movable],
    sensors: list[Readable],
    md: dict[str, Any] | None = None,
) -> MsgGenerator:
    """Measure each suggestion in its own run: move there, then read sensors and actuators once.

    Parameters
    ----------
    suggestions
        Each holds a value for every actuator, by name and in the actuator's unit. An actuator without a value stays
        where it is, and is read.
    actuators
        Devices to move; they move together.
    sensors
        Devices to read, in the stream ``primary``, which also holds the actuators.
    md
        Metadata for every start document, with the suggestion's id as ``agent_suggestion_uid``.

    Returns
    -------
    tuple of str
        The runs' uids.

    Raises
    ------
    ValueError
        A suggestion has a value under a name that no actuator has; nothing has moved then.
    """
    return (yield from measured(suggestions, actuators, sensors, lambda suggestion: md or {}))


def move_to(
    point: dict[str, bool | int | float | str], devices: list[Movable], md: dict[str, Any] | None = None
) -> MsgGenerator:
    """Move devices to a point, together and without a run; ``md`` says who asked for it.

    Parameters
    ----------
    point
        Position of each device, by name and in its unit.
    devices
        The devices to move.

    Raises
    ------
    ValueError
        The point has a position under a name that no device has; nothing has moved then.
    """
    where: list[Any] = [part for target in targets(point, devices) for part in target]
    yield from bps.mv(*where)
