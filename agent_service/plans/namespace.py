"""The namespace: devices and plans by name, as an agent's specification and a configuration say them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_service import references
from agent_service.brains.allowed_modules import ANY, Listed
from agent_service.errors import UnknownPlan, UnknownType
from agent_service.models.spelling import near
from agent_service.plans.device_lookup import DeviceLookup, it_has

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BUILT_IN: Final = {"acquire": "agent_service.plans.library:acquire"}
"""Plans that every namespace has, unless it has its own of that name; named, as they stand above this module."""

_OUR_OWN: Final = frozenset(
    f"{module}:{plan}"
    for module in ("agent_service.plans.library", "agent_service.plans")
    for plan in ("acquire", "move_to")
)
"""Plans of ours by their modules, the one of 0.1.0 too."""


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
