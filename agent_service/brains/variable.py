"""What a brain declares to show of itself and to let people set: its variables."""

from __future__ import annotations

import inspect
from typing import Any


class variable(property):  # noqa: N801 - used as a decorator, like the property it is
    """A property that the service serves as a variable of the agent.

    With a setter it is writable over HTTP. Getter and setter, which may be ``async def``, run in the agent's executor,
    never during another call.

    Examples
    --------
    >>> class Agent:
    ...     _gain = 1.0
    ...
    ...     @variable
    ...     def gain(self):
    ...         "Exploration gain, dimensionless."
    ...         return self._gain
    ...
    ...     @gain.setter
    ...     def gain(self, value):
    ...         self._gain = float(value)
    >>> declared(Agent())
    {'gain': True}
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel with a class that is defined in a notebook; a property does not pickle by itself."""
        return type(self), (self.fget, self.fset, self.fdel, self.__doc__)


def declared(brain: object) -> dict[str, bool]:
    """Return the names of the variables that ``brain``'s class declares, each with whether it can be set.

    A field of the class's pydantic ``Config`` marked ``json_schema_extra={"writable": True}`` counts as one, when the
    brain has an attribute of that name.
    """
    found: dict[str, bool] = {}
    for cls in reversed(type(brain).__mro__):
        for name, member in vars(cls).items():
            if isinstance(member, variable):
                found[name] = member.fset is not None
    fields: dict[str, Any] = getattr(getattr(type(brain), "Config", None), "model_fields", {})
    for name, field in fields.items():
        extra = getattr(field, "json_schema_extra", None)
        if isinstance(extra, dict) and extra.get("writable") and hasattr(brain, name):  # pyright: ignore[reportUnknownMemberType]
            found.setdefault(name, True)
    return found


def assign(brain: object, name: str, value: object) -> Any:
    """Set a variable, and return what its setter returned: something to await where the setter is a coroutine."""
    member = inspect.getattr_static(type(brain), name, None)
    if isinstance(member, property) and member.fset is not None:
        return member.fset(brain, value)
    return setattr(brain, name, value)
