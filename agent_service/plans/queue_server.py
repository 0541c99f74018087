"""Plans for the profile of a queue server: ``acquire``, which agents measure with, and ``move_to``, for go-to-best.

A profile takes them by ``from agent_service.plans.queue_server import acquire, move_to``. They are those of
`plans.library`, with types that a queue server can read when the profile is loaded: devices come by name, and one that
is not allowed, or not there, is refused before anything begins.
"""

# Types stand for themselves here, not as texts: a queue server makes a schema of them.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from collections.abc import Generator
from typing import Any

from bluesky.protocols import Movable, Readable

from agent_service.plans import library


def acquire(
    suggestions: list[dict[str, Any]],
    actuators: list[Movable[Any]],
    sensors: list[Readable[Any]] = [],  # noqa: B006 - a queue server takes no None for a list of devices
    md: dict[str, Any] | None = None,
) -> Generator[Any, Any, tuple[str, ...]]:
    """Measure each suggestion in a run of its own; see `plans.library.acquire`."""
    return (yield from library.acquire(suggestions, actuators, sensors, md))


def move_to(point: dict[str, bool | int | float | str], devices: list[Movable[Any]]) -> Generator[Any, Any, Any]:
    """Move devices to a point, together and without a run; see `plans.library.move_to`."""
    return (yield from library.move_to(point, devices))
