"""Families of optimizers: what turns an object of somebody's library into a brain, found by names and never by import.

A package names one in the entry-point group `GROUP`: the name is that of a class, ``package.Class``, the first part of
its module and its own name, as ``optuna.Study``; the value is a `Family`. It counts for each object that has a class of
that name in its MRO. Only the family that is needed is loaded, and it finds its library loaded already.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

    from agent_service.models import AgentSpec

GROUP: Final = "agent_service.adapters"
"""Entry-point group in which a package names the families it brings."""


class Family(Protocol):
    """What turns an object of a library into a brain: usually a class, whose objects are these brains.

    Where it has a ``filled(spec)``, that returns the configuration with what it takes from the rest of the
    specification. Where it has an attribute ``maker``, that is called with the library's class, and returns what is to
    be called in its place to make an object of JSON: with a nested ``Config``, and ``check`` if it likes, as any type
    of agents.

    Examples
    --------
    >>> class Dice:
    ...     "A family for objects that roll."
    ...
    ...     def __init__(self, die, spec):
    ...         self._die, self._actuators = die, spec.actuators
    ...
    ...     def suggest(self, num_points=None):
    ...         return [{name: self._die.roll() for name in self._actuators}]
    ...
    ...     def ingest(self, points): ...
    """

    def __call__(self, thing: Any, spec: AgentSpec, /) -> object:
        """Return a brain, with suggest and ingest, that asks and tells ``thing``."""
        ...


def is_known(thing: object) -> bool:
    """Return whether there is a family for an object, or for the objects of a class. Loads nothing."""
    return _found(thing) is not None


def brain_of(thing: object, spec: AgentSpec) -> object:
    """Return what asks and tells ``thing``: its family's brain, or ``thing`` itself where it has no family."""
    family = _found(thing)
    return thing if family is None else cast("Family", family.load())(thing, spec)


def maker_of(factory: Callable[..., object]) -> Callable[..., object]:
    """Return what makes an object of a class from JSON: what its family says, or the class or function itself."""
    family = _found(factory) if isinstance(factory, type) else None
    maker = None if family is None else getattr(family.load(), "maker", None)
    return factory if maker is None else maker(factory)


def filled(factory: Callable[..., object], spec: AgentSpec) -> dict[str, Any]:
    """Return an agent's configuration, with what a type takes from the rest of its specification.

    The type says what by a ``filled(spec)``, or its family does for it.
    """
    fill = getattr(factory, "filled", None)
    if fill is None and isinstance(factory, type) and (family := _found(factory)) is not None:
        fill = getattr(family.load(), "filled", None)
    return cast("dict[str, Any]", fill(spec)) if callable(fill) else dict(spec.config)


def _found(thing: object) -> EntryPoint | None:
    cls = cast("type[object]", thing) if isinstance(thing, type) else type(thing)
    names = [f"{base.__module__.partition('.')[0]}.{base.__qualname__}" for base in cls.__mro__[:-1]]
    points = {point.name: point for point in entry_points(group=GROUP)}
    return next((points[name] for name in names if name in points), None)
