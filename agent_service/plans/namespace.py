"""Devices and plans by name, as an agent's specification and a configuration say them.

A name is looked up when it is used: a device that was removed since is an unknown device then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_service import references
from agent_service.brains.allowed_modules import ANY, Listed
from agent_service.errors import UnknownDevice, UnknownPlan, UnknownType, texts
from agent_service.models.spelling import near
from agent_service.plans.device_tree import Node, at, is_device, nodes, own_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

BUILT_IN: Final = {"acquire": "agent_service.plans.library:acquire"}
"""Plans that every namespace has, unless it has its own of that name; named, as they stand above this module."""

_OUR_OWN: Final = frozenset(
    f"{module}:{plan}"
    for module in ("agent_service.plans.library", "agent_service.plans")
    for plan in ("acquire", "move_to")
)
"""Plans of ours by their modules, the one of 0.1.0 too."""
_SHOWN: Final = 20


class Namespace:
    """Devices and plans by name. May be used from any thread.

    A device is known by what it calls itself (``stage_x``), wherever it is: in a variable, in a list or a mapping, as a
    component, a pseudo axis or a child of another; and by the way to it (``stage.x``, ``motors.0``).

    ``names`` are live: a module's ``__dict__``, for example. Those in ``before``, each with what they come from, are
    hidden by later ones, but for devices. ``source`` is what a person calls all of it.

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
        self._sources = [*before, ("", names)]
        self._listed = listed
        self.source = source
        self._found: dict[str, tuple[tuple[int, ...], str, object, str]] = {}

    @property
    def devices(self) -> list[str]:
        """Names of the variables that are devices now."""
        return sorted(name for name, value in self._public().items() if is_device(value))

    @property
    def plans(self) -> list[str]:
        """Names of the plans, as far as one can tell: the built-in ones, and generator functions."""
        from inspect import isgeneratorfunction  # noqa: PLC0415 - needed for a list in a message only

        own = {name for name, value in self._public().items() if isgeneratorfunction(value)}
        return sorted(own | set(BUILT_IN))

    def device(self, name: str) -> Any:
        """Return the device that calls itself ``name``, or to which ``name`` is the way.

        Raises `UnknownDevice` when there is none, with what is near and what there is; when there are two, with where
        they are; when it is a lazy component that cannot be made, with why.
        """
        variables = tuple(map(id, self._public().values()))
        if name in self._found:  # a search of a beamline takes milliseconds, and each plan asks
            then, path, device, called = self._found[name]
            if then == variables and own_name(device) == called and self._at(path) is device:
                return device
        path, device = self._search(name)
        self._found[name] = variables, path, device, own_name(device)
        return device

    def own_name(self, name: str) -> str:
        """Return what the device ``name`` calls itself: plans and documents know it by that. Raises as `device`."""
        return own_name(self.device(name))

    def actuator(self, name: str) -> Any:
        """Return the device that calls itself ``name``, if it can be set. See `own_name` for one known by a way.

        Raises as `device`, and `UnknownDevice` when it has no ``set``, or calls itself otherwise.
        """
        device = self.device(name)
        if not hasattr(device, "set"):
            raise UnknownDevice(f"the device {name!r} has no set, so it cannot be an actuator; name it as a sensor")
        if own_name(device) != name:
            # plans take a position by device.name, and documents hold the readback under it
            raise UnknownDevice(f"the device {name!r} calls itself {own_name(device)!r}; name it so as an actuator")
        return device

    def plan(self, name: str) -> Callable[..., Any]:
        """Return a plan: a name in the namespace, ``module:callable``, ``live:NAME``, or a built-in one. May import.

        Raises `UnknownPlan` when there is none or it cannot be called, `InvalidInput` when it is defined elsewhere than
        it must be.
        """
        plan = self._names.get(name)
        if plan is None and ":" in (reference := BUILT_IN.get(name, name)):
            plan = _imported(reference)
            if reference not in _OUR_OWN:
                self._listed.refuse_foreign(plan, field="plan", reference=reference)
        if plan is None:
            plans = self.plans
            raise UnknownPlan(f"there is no plan {name!r} in {self.source}; {near(name, plans)}{_listed(plans)}")
        if not callable(plan) or isinstance(plan, type):
            raise UnknownPlan(f"{name!r} in {self.source} is of type {type(plan).__name__}, not a plan to call")
        return plan

    def find(self, name: str) -> object | None:
        """Return what a name stands for, whatever that is; None when there is no such name."""
        return self._names.get(name)

    @property
    def _names(self) -> dict[str, object]:
        # a copy: the user's own code may change the namespace meanwhile
        return {name: value for _, names in self._sources for name, value in dict(names).items()}

    def _public(self) -> dict[str, object]:
        public: dict[str, object] = {}
        for _, names in self._sources:
            for name, value in dict(names).items():
                hidden = public.get(name)
                if hidden is not value and is_device(hidden):
                    earlier = next(label for label, there in self._sources if there.get(name) is hidden)
                    public[f"{earlier}: {name}"] = hidden
                public[name] = value
        return {name: value for name, value in public.items() if not name.startswith("_")}

    def _search(self, name: str) -> tuple[str, object]:
        public = self._public()
        meant = {node.path: node for node in nodes(public) if name in (node.path, node.name)}
        value = None if name in meant else self._at(name)  # a way that leads through what is not searched
        if is_device(value) and all(node.device is not value for node in meant.values()):
            meant[name] = Node(name, own_name(value), value)
        if len(meant) > 1:
            raise UnknownDevice(self._ambiguous(name, list(meant.values())))
        if meant:
            [node] = meant.values()
            return node.path, node.device or self._at(node.path)
        if value is not None:
            kind = type(value).__name__
            nameless = " and has no name; give it one" if is_device(value, named=False) else ", not a device to read"
            raise UnknownDevice(f"{name!r} in {self.source} is of type {kind}{nameless}")
        known = dict.fromkeys(word for node in nodes(public) for word in (node.path, node.name))
        hint = near(name, known) or near(name.replace(".", "_"), known)
        raise UnknownDevice(f"there is no device {name!r} in {self.source}; {hint}{_listed(self.devices)}")

    def _at(self, path: str) -> object | None:
        try:
            return at(self._names, path)
        except Exception as error:
            raise UnknownDevice(f"{path!r} in {self.source} cannot be had: {texts.describe(error)}") from error

    def _ambiguous(self, name: str, meant: list[Node]) -> str:
        ways = [f"{node.path} (calls itself {node.name!r})" if node.name != name else node.path for node in meant]
        listed = f"{', '.join(ways[:-1])} and {ways[-1]}"
        return f"{name!r} is meant for {len(ways)} devices in {self.source}: {listed}; give each a name of its own"


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


def _listed(all_names: Iterable[str]) -> str:
    names = list(all_names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"it has {', '.join(names[:_SHOWN])}{more}" if names else "it has none"
