"""What forbids one agent a point: its own guardrails, those of the service, and what its devices say."""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING

from agent_service.agents import guardrails
from agent_service.agents.guardrails import Rails
from agent_service.errors import FieldError, OutOfBounds
from agent_service.models.guardrail_rules import parse, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agent_service.agents.device_limits import DeviceLimits
    from agent_service.agents.guardrails import Standing
    from agent_service.models import AgentSpec, Ends, Guardrails, Point


class AgentRails:
    """The rails of one agent; belongs to the event loop, but for what says otherwise.

    Parameters
    ----------
    spec
        Returns the agent's present specification.
    service
        The guardrails that hold for each agent of the service.
    devices
        What the devices say.
    positions
        Where each actuator was last, as far as the service knows; kept up to date by its owner.
    """

    def __init__(
        self,
        spec: Callable[[], AgentSpec],
        *,
        service: Guardrails,
        devices: DeviceLimits,
        positions: Mapping[str, float],
    ) -> None:
        self._spec = spec
        self._service = service
        self._devices = devices
        self._elsewhere: Mapping[str, float] = ChainMap(devices.positions, positions)  # type: ignore[arg-type]
        self._now: tuple[Guardrails, Rails] | None = None

    @property
    def now(self) -> Rails:
        """What holds now; from any thread. What devices say goes on to change in it."""
        own = self._spec().guardrails
        held = self._now
        if held is None or held[0] is not own:
            both = guardrails.stricter(own, self._service)
            held = self._now = own, Rails.of(both, self._devices.stated, self._elsewhere)
        return held[1]

    @property
    def limits(self) -> dict[str, Ends]:
        """Lowest and highest position of the actuators, whoever says it; nothing of one without any limit."""
        rails, devices = self.now, dict(self._devices.stated)
        found = guardrails.both(rails.bounds, devices)
        return {name: found[name] for name in self._spec().actuators if name in found}

    @property
    def no_limits(self) -> list[str]:
        """Actuators without any limit that nobody said need none."""
        limits, fine = self.limits, self.now.unbounded
        return [name for name in self._spec().actuators if name not in limits and name not in fine]

    @property
    def unread(self) -> dict[str, str]:
        """Actuators whose device does not say its limits now, and why."""
        return {name: why for name in self._spec().actuators if (why := self._devices.unread.get(name)) is not None}

    async def look(self, *, places: bool = False) -> None:
        """Ask the devices of its actuators; with ``places`` where they are, too."""
        await self._devices.refresh(self._spec().actuators, places=self._asked_where(every=places))

    def look_here(self) -> None:
        """Do what `look` does, and block; from another thread."""
        self._devices.refresh_here(self._spec().actuators, places=self._asked_where())

    async def look_again(self, points: Iterable[Point]) -> None:
        """Ask the devices anew if what they said before forbids one of ``points``, for it may be long ago."""
        rails = self.now
        if any(guardrails.beyond_devices(one, rails) for one in points) or self._asked_where():
            await self.look()

    async def check(self, point: Point, standing: Standing) -> None:
        """Raise `OutOfBounds` unless the agent may measure a point, by what is known."""
        await self.look_again([point])
        guardrails.check(point, self.now, standing)

    async def check_press(self, point: Point, standing: Callable[[Mapping[str, float]], Standing]) -> None:
        """Raise `OutOfBounds` unless a person may approve a point: devices are asked anew, and asked for their word.

        Parameters
        ----------
        point
            The point.
        standing
            Where the agent stands, called with where the devices say that they are.
        """
        await self.look(places=True)
        places = {name: at for name in point if (at := self._devices.positions.get(name)) is not None}
        found = _broken(point, self.now, standing(places))
        raise_for(found + said_by_devices(point, await self._devices.refusals(point), found))

    async def check_devices(self, point: Point) -> None:
        """Raise `OutOfBounds` unless the devices, asked anew, take their position of a point."""
        await self.look()
        found = guardrails.beyond_devices(point, self.now)
        raise_for(found + said_by_devices(point, await self._devices.refusals(point), found))

    def check_turn(self, point: Point) -> None:
        """Do what `check_devices` does, and block; from another thread."""
        self.look_here()
        found = guardrails.beyond_devices(point, self.now)
        raise_for(found + said_by_devices(point, self._devices.refusals_here(point), found))

    def _asked_where(self, *, every: bool = False) -> list[str]:
        """Return whose place is to be asked: what rules name beside the actuators, and these too if ``every``."""
        actuators = self._spec().actuators
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


def said_by_devices(point: Point, refused: Mapping[str, str], found: Sequence[FieldError]) -> list[FieldError]:
    """Return what devices refuse and was not found before."""
    known = {one.field.rpartition(".")[2] for one in found if one.field.startswith("device_limits.")}
    return [
        FieldError(f"device.{name}", f"the device refuses {name} = {shown(point[name])}: {why}")
        for name, why in refused.items()
        if name not in known
    ]


def raise_for(found: Sequence[FieldError]) -> None:
    """Raise `OutOfBounds` when something was found."""
    if found:
        raise OutOfBounds("; ".join(f"{one.field}: {one.message}" for one in found), errors=found)


def _broken(point: Point, rails: Rails, standing: Standing) -> list[FieldError]:
    try:
        guardrails.check(point, rails, standing)
    except OutOfBounds as error:
        return list(error.errors)
    return []
