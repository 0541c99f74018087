"""Bluesky plans: ``acquire``, the default, and ``move_to``, the move of go-to-best.

They run in the RunEngine's thread.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bluesky.plan_stubs as bps

from agent_service.models import ID_KEY
from agent_service.plans.targets import measured, targets

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence


def acquire(
    suggestions: Sequence[Mapping[str, Any]],
    actuators: Sequence[Any],
    sensors: Sequence[Any] = (),
    md: Mapping[str, Any] | None = None,
) -> Generator[Any, Any, tuple[str, ...]]:
    """Measure each suggestion in its own run: move there, then read sensors and actuators once.

    Parameters
    ----------
    suggestions
        Each holds a value for every actuator, by name and in the actuator's unit, and its id as ``_id``. An actuator
        without a value stays where it is, and is read.
    actuators
        Devices to move; they move together.
    sensors
        Devices to read, in the stream ``primary``, which also holds the actuators.
    md
        Metadata for every start document; the plan adds the suggestion's id as ``agent_suggestion_uid``.

    Returns
    -------
    tuple of str
        The runs' uids.

    Raises
    ------
    ValueError
        A suggestion has a value under a name that no actuator has; nothing has moved then.
    """

    def metadata(suggestion: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**(md or {}), **({"agent_suggestion_uid": suggestion[ID_KEY]} if ID_KEY in suggestion else {})}

    return (yield from measured(suggestions, actuators, sensors, metadata))


def move_to(point: Mapping[str, bool | int | float | str], devices: Sequence[Any]) -> Generator[Any, Any, Any]:
    """Move devices to a point, together and without a run.

    Parameters
    ----------
    point
        Position of each device, by name and in its unit.
    devices
        The devices to move; one without a position stays where it is.

    Raises
    ------
    ValueError
        The point has a position under a name that no device has; nothing has moved then.
    """
    where = [part for target in targets(point, devices) for part in target]
    return (yield from bps.mv(*where))
