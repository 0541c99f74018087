"""The devices of a namespace of this process, as guardrails ask them. See `protocols.Devices`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_service.plans.device_positions import position_of
from agent_service.plans.device_settings import awaiting, limits_of, refusals

if TYPE_CHECKING:
    from agent_service.models import Ends, Point
    from agent_service.plans.device_settings import Ask
    from agent_service.plans.namespace import Namespace

_ANSWERS_WITHIN_S: Final = 10.0
"""How long a device of ophyd-async may take to answer; who asks waits less, and what hangs is to end some time."""


class NamespaceDevices:
    """Devices by name, found anew for each question; from any thread, may block. ``ask`` is as for `awaiting`."""

    def __init__(self, namespace: Namespace, ask: Ask) -> None:
        self._namespace = namespace
        self._await = awaiting(ask, _ANSWERS_WITHIN_S)

    def check(self, name: str) -> None:
        """Raise `UnknownDevice` unless there is an actuator of that name."""
        self._namespace.actuator(name)

    def limits(self, name: str) -> Ends:
        """Return what a device states as its limits."""
        return limits_of(self._namespace.actuator(name), self._await)

    def position(self, name: str) -> float | None:
        """Return where a device is, NaN when it cannot be asked now, None when it has no position."""
        return position_of(self._namespace.actuator(name), self._await)

    def refusals(self, point: Point) -> dict[str, str]:
        """Return why devices refuse their position of a point, by name; moves nothing."""
        return refusals({name: self._namespace.actuator(name) for name in point}, point, self._await)
