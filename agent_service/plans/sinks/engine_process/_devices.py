"""What is asked of the devices and plans of the RunEngine's process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.plans.named_plan import is_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.models import AgentSpec, DeviceInfo, Ends, Point
    from agent_service.plans.sinks.engine_process._link import EngineLink
    from agent_service.plans.sinks.engine_process._live_plans import SentPlans


class EngineDevices:
    """Asks; blocks, so from another thread than the event loop's. See `protocols.Devices`."""

    def __init__(self, link: EngineLink, plans: SentPlans) -> None:
        self._link = link
        self._plans = plans

    def check(self, name: str) -> None:
        """Raise `UnknownDevice` unless there is an actuator of that name."""
        self._link.ask("has_actuator", name)

    def limits(self, name: str) -> Ends:
        """Return what a device states as its limits."""
        return self._link.ask("limits", name)

    def position(self, name: str) -> float | None:
        """Return where a device is, NaN when it cannot be asked now, None when it has no position."""
        return self._link.ask("position", name)

    def units(self, name: str) -> dict[str, str]:
        """Return the units that an actuator or a sensor describes, by the keys of its documents."""
        return self._link.ask("units", name)

    def wholes(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return by actuator the names of the devices that move with it."""
        return self._link.ask("wholes", list(names))

    def refusals(self, point: Point) -> dict[str, str]:
        """Return why devices refuse their position of a point, by name; moves nothing."""
        return self._link.ask("refusals", dict(point))

    def own_name(self, name: str) -> str:
        """Return what a device calls itself."""
        return self._link.ask("own_name", name)

    def list_devices(self) -> list[DeviceInfo]:
        """Return the devices of the process's namespace."""
        return self._link.ask("list_devices")

    def check_agent(self, spec: AgentSpec) -> None:
        """Raise `UnknownPlan` or `UnknownDevice` unless there are an agent's plan and devices."""
        self._link.ask("check", spec, self._plans.pack(spec.plan), is_named(spec.plan))
