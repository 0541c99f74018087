"""The namespace: devices and plans by name, as an agent's specification and a configuration say them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_service import references
from agent_service.brains.allowed_modules import ANY, Listed
from agent_service.errors import UnknownPlan, UnknownType, texts
from agent_service.models.spelling import near
from agent_service.plans.device_lookup import DeviceLookup, it_has
from agent_service.plans.device_positions import position_of, wholes_of
from agent_service.plans.device_settings import awaiting, limits_of, refusals, units_of
from agent_service.protocols import DeviceWords

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import Ends, Point
    from agent_service.plans.device_settings import Ask

BUILT_IN: Final = {"acquire": "agent_service.plans.library:acquire"}
"""Plans that every namespace has, unless it has its own of that name; named, as they stand above this module."""

_OUR_OWN: Final = frozenset(
    f"{module}:{plan}"
    for module in ("agent_service.plans.library", "agent_service.plans")
    for plan in ("acquire", "move_to")
)
"""Plans of ours by their modules, the one of 0.1.0 too."""

_ANSWERS_WITHIN_S: Final = 10.0
"""How long a device of ophyd-async may take to answer; who asks waits less, and what hangs is to end some time."""


class Namespace(DeviceLookup):
    """Devices and plans by name; the devices as `DeviceLookup` has them. May be used from any thread.

    Examples
    --------
    >>> Namespace({}, source="an empty namespace").device("motor")
    Traceback (most recent call last):
    agent_service.errors.UnknownDevice: there is no device 'motor' in an empty namespace; it has none
    """

    def __init__(
        self,
        names: Mapping[str, object],
        *,
        before: Sequence[tuple[str, Mapping[str, object]]] = (),
        source: str,
        listed: Listed = ANY,
    ) -> None:
        super().__init__(names, before=before, source=source)
        self._listed = listed

    @property
    def plans(self) -> list[str]:
        """Names of the plans, as far as one can tell: the built-in ones, and generator functions."""
        from inspect import isgeneratorfunction  # noqa: PLC0415 - needed for a list in a message only

        own = {name for name, value in self.public().items() if isgeneratorfunction(value)}
        return sorted(own | set(BUILT_IN))

    def plan(self, name: str) -> Callable[..., Any]:
        """Return a plan: a name in the namespace, ``module:callable``, ``live:NAME``, or a built-in one. May import.

        Raises `UnknownPlan` when there is none or it cannot be called, `InvalidInput` when it is defined elsewhere than
        it must be.
        """
        plan = self.names.get(name)
        if plan is None and ":" in (reference := BUILT_IN.get(name, name)):
            plan = _imported(reference)
            if reference not in _OUR_OWN:
                self._listed.refuse_foreign(plan, field="plan", reference=reference)
        if plan is None:
            plans = self.plans
            raise UnknownPlan(f"there is no plan {name!r} in {self.source}; {near(name, plans)}{it_has(plans)}")
        if not callable(plan) or isinstance(plan, type):
            raise UnknownPlan(f"{name!r} in {self.source} is of type {type(plan).__name__}, not a plan to call")
        return plan


class NamespaceDevices:
    """The devices of a namespace, as guardrails ask them: found anew for each question. See `protocols.Devices`.

    From any thread; may block. ``ask`` is as for `awaiting`.
    """

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

    def units(self, name: str) -> dict[str, str]:
        """Return the units that an actuator or a sensor describes, by the keys of its documents."""
        return units_of(self._namespace.device(name), self._await)

    def wholes(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return by actuator the names of the devices that move with it."""
        return wholes_of([self._namespace.actuator(name) for name in names], self._namespace.same_setpoint)

    def refusals(self, point: Point) -> dict[str, str]:
        """Return why devices refuse their position of a point, by name; moves nothing."""
        return refusals({name: self._namespace.actuator(name) for name in point}, point, self._await)

    def words(self, point: Point) -> DeviceWords:
        """Return what the devices of a point say of it; raises `UnknownDevice`, and what one raises that is asked."""
        limits: dict[str, Ends | None] = {}
        unread: dict[str, str] = {}
        devices = {name: self._namespace.actuator(name) for name in point}
        for name, device in devices.items():
            try:
                ends = limits_of(device, self._await)
            except Exception as error:  # noqa: BLE001 - whatever a device raises
                unread[name] = texts.describe(error)
            else:
                limits[name] = None if ends == (None, None) else ends
        return DeviceWords(limits, unread, refusals(devices, point, self._await))


def _imported(reference: str) -> object:
    if references.is_live(reference):
        try:
            return references.find(reference)
        except UnknownType as error:
            raise UnknownPlan(f"plan: {error.detail}") from None
    try:
        return references.imported(reference)
    except references.Unresolved as error:
        raise UnknownPlan(f"plan {reference!r}: {error}") from error
