"""What forbids one agent a point: its own guardrails, those of the service, and what its devices say.

How a point is checked against them is in `guardrail_checks`.
"""

from __future__ import annotations

import math
from collections import ChainMap
from typing import TYPE_CHECKING, Any

from agent_service.agents import guardrail_checks
from agent_service.agents.approvals import Approvals
from agent_service.agents.guardrail_checks import EffectiveGuardrails, RunHistory
from agent_service.errors import FieldError, OutOfBounds
from agent_service.models import AgentDevices
from agent_service.models.guardrail_rules import parse, shown
from agent_service.models.state_machines import SuggestionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agent_service.agents.device_limits import DeviceLimits
    from agent_service.agents.record.agent import AgentRecord
    from agent_service.models import Ends, Guardrails, Point, ServiceGuardrails, Suggestion
    from agent_service.protocols import DeviceWords


class GuardrailsInForce:
    """The guardrails of one agent; belongs to the event loop, but for what says otherwise."""

    def __init__(
        self,
        record: AgentRecord,
        *,
        service: ServiceGuardrails,
        devices: DeviceLimits,
        positions: Mapping[str, float],
    ) -> None:
        self.approvals = Approvals(record, service)
        self._record = record
        self._service = service
        self._devices = devices
        self._positions = positions
        self._elsewhere: Mapping[str, float] = ChainMap(devices.positions, positions)  # type: ignore[arg-type]
        self._now: tuple[Guardrails, EffectiveGuardrails] | None = None

    @property
    def now(self) -> EffectiveGuardrails:
        """What holds now; from any thread. What devices say goes on to change in it."""
        own = self._record.spec.guardrails
        held = self._now
        if held is None or held[0] is not own:
            both = guardrail_checks.stricter(own, self._service)
            held = self._now = own, EffectiveGuardrails.of(both, self._devices.stated, self._elsewhere)
        return held[1]

    @property
    def history(self) -> RunHistory:
        """What the guardrails want to know of the agent beside a point."""
        return RunHistory(
            plan=self._record.spec.plan,
            positions=self._positions,
            runs=self._record.handed_over,
            run_time_s=self._record.run_time_s,
        )

    def check_approval(self, suggestion_id: str) -> None:
        """Raise `OutOfBounds` when a person's approval is needed by now and a suggestion was approved without."""
        if why := self.approvals.lacks(suggestion_id):
            raise OutOfBounds(
                f"loop.approval: a person's approval is required by now, and nobody approved this point: {why}"
            )

    @property
    def limits(self) -> dict[str, Ends]:
        """Lowest and highest position of the actuators, whoever says it; nothing of one without any limit."""
        effective, devices = self.now, dict(self._devices.stated)
        ends = guardrail_checks.both(effective.bounds, devices)
        return {name: ends[name] for name in self._record.spec.actuators if name in ends}

    @property
    def no_limits(self) -> list[str]:
        """Actuators that could have limits, have none, and of which nobody said that they need none."""
        spec, fine = self._record.spec, {*self.limits, *self.now.unbounded, *self.now.allowed}
        fine |= {name for name, dimension in spec.space.items() if not dimension.limitable}
        return [name for name in spec.actuators if name not in fine]

    @property
    def shown(self) -> dict[str, Any]:
        """What the agent's status has of limits, and of its devices."""
        spec, unread, units = self._record.spec, self._devices.unread, self._devices.units
        return {
            "limits": self.limits,
            "no_limits": self.no_limits,
            "limits_unread": {name: unread[name] for name in spec.actuators if name in unread},
            "units": {name: units[name] for name in (*spec.actuators, *spec.outcomes) if name in units},
        }

    async def ask_devices(self) -> AgentDevices:
        """Ask its devices where they are, and for units; in the event loop, for 2 s at most."""
        spec, devices = self._record.spec, self._devices
        await devices.refresh((), places=spec.actuators, described=(*spec.actuators, *spec.sensors))
        where = self._positions if devices.devices is None else devices.positions
        known = {name: where[name] for name in spec.actuators if math.isfinite(where.get(name, math.nan))}
        return AgentDevices(positions=known, units=self.shown["units"])

    async def look(self, *, places: bool = False) -> None:
        """Ask the devices of its actuators; with ``places`` where they are, too."""
        await self._devices.refresh(self._record.spec.actuators, places=self._asked_where(every=places))

    def look_here(self) -> None:
        """Do what `look` does, and block; from another thread."""
        self._devices.refresh_here(self._record.spec.actuators, places=self._asked_where())

    async def look_again(self, points: Iterable[Point]) -> None:
        """Ask the devices anew if what they said before forbids one of ``points``, for it may be long ago."""
        rails = self.now
        if any(guardrail_checks.beyond_devices(point, rails) for point in points) or self._asked_where():
            await self.look()

    async def check(self, suggestion: Suggestion) -> None:
        """Raise `OutOfBounds` unless the agent may measure a suggestion, by what is known."""
        await self.look_again([suggestion.point])
        guardrail_checks.check(suggestion.point, self.now, self.history)
        if suggestion.state is SuggestionState.APPROVED:
            self.check_approval(suggestion.id)

    def why_not(self, point: Point) -> str:
        """Return what forbids to measure a point after what went before, by what is known; an empty text if nothing."""
        return guardrail_checks.why_not(point, self.now, self.history)

    async def check_press(self, point: Point, standing: Callable[[Mapping[str, float]], RunHistory]) -> None:
        """Raise `OutOfBounds` unless a person may approve a point: devices are asked anew, and asked for their word."""
        spec = self._record.spec
        await self.look(places=True)
        wholes = await self._devices.wholes(spec.actuators, spec.names)
        guardrail_checks.check_parts(wholes, spec.guardrails, self._service)
        places = {name: at for name in point if (at := self._devices.positions.get(name)) is not None}
        wrong = guardrail_checks.violated(point, self.now, standing(places))
        _raise_for(point, wrong, await self._devices.refusals(self._of_devices(point)))

    async def check_devices(self, point: Point) -> None:
        """Raise `OutOfBounds` unless the devices, asked anew, take their position of a point."""
        await self.look()
        wrong = guardrail_checks.beyond_devices(point, self.now)
        _raise_for(point, wrong, await self._devices.refusals(point))

    def check_turn(self, point: Point) -> None:
        """Do what `check_devices` does, and block; from another thread."""
        self.look_here()
        wrong = guardrail_checks.beyond_devices(point, self.now)
        _raise_for(point, wrong, self._devices.refusals_here(self._of_devices(point)))

    def _of_devices(self, point: Point) -> Point:
        """Return the part of a point that devices are asked about: an agent without actuators has points of its own."""
        return {name: value for name, value in point.items() if name in self._record.spec.actuators}

    def heard_devices(self, point: Point, words: DeviceWords) -> bool:
        """Do what `check_devices` does by what devices said already, on the event loop; False: others are to be asked.

        Raises `OutOfBounds` unless they take their position of a point.
        """
        if self._asked_where():
            return False
        self._devices.take(words)
        _raise_for(point, guardrail_checks.beyond_devices(point, self.now), dict(words.refusals))
        return True

    def _asked_where(self, *, every: bool = False) -> list[str]:
        """Return whose place is to be asked: what rules name beside the actuators, and these too if ``every``."""
        actuators = self._record.spec.actuators
        foreign = elsewhere(self.now.rules, actuators)
        return [*foreign, *actuators] if every else foreign


def elsewhere(rules: Sequence[str], actuators: Sequence[str]) -> list[str]:
    """Return what rules about ``actuators`` name beside them."""
    named = [rule.names for rule in map(parse, rules) if not set(rule.names).isdisjoint(actuators)]
    return [name for name in dict.fromkeys(name for names in named for name in names) if name not in actuators]


def no_limits_said(names: Sequence[str], *, advice: str = "") -> str:
    """Return the line that says that actuators have no limits, and what to do about it."""
    listed = " and ".join(names) if len(names) <= 2 else f"{', '.join(names[:-1])} and {names[-1]}"  # noqa: PLR2004
    quoted = ", ".join(f'"{name}"' for name in names)
    return (
        f"no limits for {listed}: neither the device nor guardrails bound {'it' if len(names) == 1 else 'them'}; "
        f"{advice or f'set guardrails.bounds, or say guardrails.unbounded = [{quoted}]'}"
    )


def _raise_for(point: Point, wrong: list[FieldError], refused: Mapping[str, str]) -> None:
    """Raise `OutOfBounds` for what is wrong with a point, and for what devices refuse besides."""
    known = {error.field.rpartition(".")[2] for error in wrong if error.field.startswith("device_limits.")}
    guardrail_checks.raise_for(
        wrong
        + [
            FieldError(f"device.{name}", f"the device refuses {name} = {shown(point[name])}: {why}")
            for name, why in refused.items()
            if name not in known
        ]
    )
