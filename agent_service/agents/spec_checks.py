"""What of an agent's specification takes the user's imports, or devices, to check: off the event loop, in time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from agent_service.agents import guardrail_checks
from agent_service.agents.guardrails_in_force import elsewhere
from agent_service.documents import outcomes
from agent_service.errors import BackendUnavailable, FieldError, UnknownDevice
from agent_service.models import own_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent_service.agents.device_limits import DeviceLimits
    from agent_service.agents.placement import Placement
    from agent_service.models import AgentSpec, ServiceGuardrails
    from agent_service.protocols import PlanSink

_log = logging.getLogger(__name__)

CHECK_WITHIN_S: Final = 60.0
"""How long the imports of an agent's type, evaluate function and plan may take before its creation is refused."""


class SpecChecks:
    """Checks specifications of agents; belongs to the event loop."""

    def __init__(
        self, placement: Placement, *, sink: PlanSink, devices: DeviceLimits, limits: ServiceGuardrails
    ) -> None:
        self._placement = placement
        self._sink = sink
        self._devices = devices
        self._limits = limits

    async def named(self, spec: AgentSpec) -> AgentSpec:
        """Return a specification that calls each device by its own name, as documents do; see `own_names`."""
        named: list[AgentSpec] = []
        name = f"names:{spec.name}"
        look = await self._placement.shared.start(
            lambda: named.append(own_names.named(spec, self._sink.own_name)), name=name, timeout_s=CHECK_WITHIN_S
        )
        await look.close()
        return named[0]

    async def check(self, spec: AgentSpec) -> None:
        """Check what takes the user's imports to check: where the agent is to live, and within a deadline.

        Raises `InvalidInput`, which says which field and why, when the type, the configuration, the plan or a device is
        wrong; `AgentFault` or `DeadlineExceeded` when its module does not let itself be imported.
        """
        spec = await self.named(spec)
        outcomes.check_names(spec)
        factory = self._placement.brain_factory(spec)
        place = await self._placement.choose(factory)
        name = f"check:{spec.name}"
        # libraries of optimizers take half a minute to import, and minutes from a slow disk
        within_s = max(CHECK_WITHIN_S, spec.timeouts.start) if place.libraries else CHECK_WITHIN_S
        try:
            checking = await place.executor.start(
                factory.check, name=name, timeout_s=within_s, libraries=place.libraries
            )
            await checking.close()
        except BackendUnavailable as error:  # where it is to live is away: what is wrong is found when it is built
            _log.warning("the type of agent %s could not be looked at: %s", spec.name, error.detail)
        checking = await self._placement.shared.start(self._sink_check(spec), name=name, timeout_s=CHECK_WITHIN_S)
        await checking.close()

    async def look_at_guardrails(self, spec: AgentSpec) -> None:
        """Check what the guardrails of a specification name, and ask the devices that they are about."""
        if spec.guardrails.rules:
            checking = await self._placement.shared.start(
                lambda: self._check_rules(spec), name=f"check:{spec.name}", timeout_s=CHECK_WITHIN_S
            )
            await checking.close()
        await self.look_at_devices(spec)

    async def look_at_devices(self, spec: AgentSpec) -> None:
        """Ask the devices of a specification; raise `OutOfBounds` for one that moves a device past its limits."""
        await self._devices.refresh(spec.actuators)
        wholes = await self._devices.wholes(spec.actuators, spec.names)
        guardrail_checks.check_parts(wholes, spec.guardrails, self._limits)

    def _sink_check(self, spec: AgentSpec) -> Callable[[], None]:
        def check() -> None:
            self._sink.check(spec)
            self._check_rules(spec)

        return check

    def _check_rules(self, spec: AgentSpec) -> None:
        """Raise `UnknownDevice` for a rule that names what is no actuator; in a thread, for it may look for devices."""
        devices = self._devices.devices
        for message in unknown_in_rules(spec, self._limits, None if devices is None else devices.check):
            error = FieldError("guardrails.rules", message)
            raise UnknownDevice(f"{error.field}: {message}", errors=[error])


def unknown_in_rules(spec: AgentSpec, limits: ServiceGuardrails, look: Callable[[str], object] | None) -> Iterator[str]:
    """Yield what is wrong with rules that name what is no actuator of an agent, and no device that can be asked.

    ``look`` raises `UnknownDevice` unless there is a device; None: there are no devices here.
    """
    for rule in guardrail_checks.stricter(spec.guardrails, limits).rules:
        for name in elsewhere([rule], spec.actuators):
            why = "this service has no devices that it could ask where that is" if look is None else ""
            if look is not None:
                try:
                    look(name)
                except UnknownDevice as unknown:
                    why = unknown.detail
            if why and (look is not None or rule in spec.guardrails.rules):
                yield f"{rule} names {name}, which is no actuator of agent {spec.name!r}; {why}"
