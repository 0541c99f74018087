"""Devices by name, as an agent's specification and a configuration say them.

A name is looked up when it is used: a device that was removed since is an unknown device then.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import UnknownDevice, texts
from agent_service.models import DeviceInfo
from agent_service.models.spelling import near
from agent_service.plans.device_tree import Node, at, is_device, nodes, own_name, setpoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SHOWN: Final = 20
_READ_ONLY: Final = frozenset({"SignalRO", "EpicsSignalRO", "SynSignalRO"})
"""Classes of ophyd that have a ``set`` which always raises."""
_SIGNALS: Final = frozenset({"Signal", "SynSignal"})
"""Classes of ophyd and ophyd-async whose instances inside a device are its settings and readings, a score of each."""


class DeviceLookup:
    """Devices by name. May be used from any thread.

    A device is known by what it calls itself (``stage_x``), wherever it is: in a variable, in a list or a mapping, as a
    component, a pseudo axis or a child of another; and by the way to it (``stage.x``, ``motors.0``).

    ``names`` are live: a module's ``__dict__``, for example. Those in ``before``, each with what they come from, are
    hidden by later ones, but for devices. ``source`` is what a person calls all of it.
    """

    def __init__(
        self, names: Mapping[str, object], *, before: Sequence[tuple[str, Mapping[str, object]]] = (), source: str
    ) -> None:
        self._sources = [*before, ("", names)]
        self.source = source
        self._found: dict[str, tuple[tuple[int, ...], str, object, str]] = {}
        self._setpoints: tuple[tuple[int, ...], dict[str, list[str]]] = (), {}

    @property
    def devices(self) -> list[str]:
        """Names of the variables that are devices now."""
        return sorted(name for name, value in self.public().items() if is_device(value))

    def list_devices(self) -> list[DeviceInfo]:
        """Return the devices here by what they call themselves, but for the signals and lazy components of others.

        One whose name another bears is listed by the way to it.
        """
        listed = [
            node
            for node in nodes(self.public())
            if node.device is not None and not (node.part and _is_a(node.device, _SIGNALS))
        ]
        times = Counter(node.name for node in listed)
        infos = [
            DeviceInfo(
                name=node.path if times[node.name] > 1 else node.name,
                moves=_can_be_set(node.device),
                reads=hasattr(node.device, "read"),
            )
            for node in listed
        ]
        return sorted(infos, key=lambda device: device.name)

    def device(self, name: str) -> Any:
        """Return the device that calls itself ``name``, or to which ``name`` is the way.

        Raises `UnknownDevice` when there is none, with what is near and what there is; when there are two, with where
        they are; when it is a lazy component that cannot be made, with why.
        """
        variables = self._variables()
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

        Raises as `device`, and `UnknownDevice` when it cannot be set, or calls itself otherwise.
        """
        device = self.device(name)
        if not _can_be_set(device):
            why = "is read-only" if hasattr(device, "set") else "has no set"
            raise UnknownDevice(f"the device {name!r} {why}, so it cannot be an actuator; name it as a sensor")
        if own_name(device) != name:
            # plans take a position by device.name, and documents hold the readback under it
            raise UnknownDevice(f"the device {name!r} calls itself {own_name(device)!r}; name it so as an actuator")
        return device

    def same_setpoint(self, device: object) -> list[str]:
        """Return the names of other devices that write the same process variable; a lazy component is none yet."""
        variables = self._variables()
        if self._setpoints[0] != variables:
            by_variable: dict[str, list[str]] = {}
            for node in nodes(self.public()):
                for written in setpoints(node.device):
                    by_variable.setdefault(written, []).append(node.name)
            self._setpoints = variables, by_variable
        names = [name for written in setpoints(device) for name in self._setpoints[1].get(written, ())]
        return [name for name in dict.fromkeys(names) if name != own_name(device)]

    def find(self, name: str) -> object | None:
        """Return what a name stands for, whatever that is; None when there is no such name."""
        return self.names.get(name)

    @property
    def names(self) -> dict[str, object]:
        """Everything that has a name, those that begin with ``_`` too."""
        # a copy: the user's own code may change the namespace meanwhile
        return {name: value for _, names in self._sources for name, value in dict(names).items()}

    def public(self) -> dict[str, object]:
        """Return what has a name that does not begin with ``_``; a hidden device under what it comes from."""
        public: dict[str, object] = {}
        for _, names in self._sources:
            for name, value in dict(names).items():
                hidden = public.get(name)
                if hidden is not value and is_device(hidden):
                    earlier = next(label for label, there in self._sources if there.get(name) is hidden)
                    public[f"{earlier}: {name}"] = hidden
                public[name] = value
        return {name: value for name, value in public.items() if not name.startswith("_")}

    def _variables(self) -> tuple[int, ...]:
        """Return what changes when a variable does; each plan asks several times, so no value is looked at."""
        return tuple(
            id(value) for _, names in self._sources for name, value in dict(names).items() if not name.startswith("_")
        )

    def _search(self, name: str) -> tuple[str, object]:
        public = self.public()
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
        raise UnknownDevice(f"there is no device {name!r} in {self.source}; {hint}{it_has(self.devices)}")

    def _at(self, path: str) -> object | None:
        try:
            return at(self.names, path)
        except Exception as error:
            raise UnknownDevice(f"{path!r} in {self.source} cannot be had: {texts.describe(error)}") from error

    def _ambiguous(self, name: str, meant: list[Node]) -> str:
        ways = [f"{node.path} (calls itself {node.name!r})" if node.name != name else node.path for node in meant]
        listed = f"{', '.join(ways[:-1])} and {ways[-1]}"
        return f"{name!r} is meant for {len(ways)} devices in {self.source}: {listed}; give each a name of its own"


def _can_be_set(device: object) -> bool:
    return hasattr(device, "set") and not _is_a(device, _READ_ONLY)


def _is_a(device: object, names: frozenset[str]) -> bool:
    return not names.isdisjoint(kind.__name__ for kind in type(device).__mro__)


def it_has(all_names: Iterable[str]) -> str:
    """Return the end of a message that lists names: the first of many."""
    names = list(all_names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"it has {', '.join(names[:_SHOWN])}{more}" if names else "it has none"
