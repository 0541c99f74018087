"""``[security] modules``: whose code an agent may let the service call, see docs/adr/0030-what-a-reference-may-call.md.

A reference ``module:attribute`` is looked at twice: its module before anything is imported, and what it stands for when
that is there, for a module holds what it imports too. What is called must be defined in a module on the list.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self

from agent_service import references
from agent_service.errors import FieldError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_service.models import AgentSpec


@dataclass(frozen=True, slots=True)
class Listed:
    """The modules on the list, None for any; those inside a module on it are on it too. Travels to other processes."""

    modules: tuple[str, ...] | None = None

    @classmethod
    def of(cls, modules: Iterable[str] | None) -> Self:
        """Return the list that a configuration has."""
        return cls(None if modules is None else tuple(modules))

    def refuse_named(self, spec: AgentSpec) -> None:
        """Raise `InvalidInput` when an agent names a module that is not on the list; imports nothing.

        Live objects are in this process already, and pass.
        """
        self._refuse(
            FieldError(field, "names a module that [security] modules of the service does not list")
            for field, reference in code_in(spec)
            if not references.is_live(reference) and not self._lists(reference.partition(":")[0])
        )

    def refuse_foreign(self, code: object, *, field: str, reference: str) -> None:
        """Raise `InvalidInput` when what a reference stands for is defined in a module that is not on the list.

        Of a partial, what it calls counts; of a method its function; of an object that can be called, its class.
        ``field`` is the field of the agent's specification that names it.
        """
        if self.modules is None or references.is_live(reference):
            return
        module = _defined_in(code)
        if module is None or not self._lists(module):
            where = "which is in no module" if module is None else f"which is defined in {module}"
            message = f"is {reference}, {where}: [security] modules of the service does not list that"
            self._refuse([FieldError(field, f"{message}; let a function of a module on the list call it")])

    def _refuse(self, errors: Iterable[FieldError]) -> None:
        if self.modules is not None and (refused := list(errors)):
            message = "; ".join(f"{error.field} {error.message}" for error in refused)
            raise InvalidInput(f"{message}; it lists {', '.join(self.modules) or 'none'}", errors=refused)

    def _lists(self, module: str) -> bool:
        return self.modules is None or any(
            module == listed or module.startswith(f"{listed}.") for listed in self.modules
        )


ANY: Final = Listed()
"""Any module."""


def code_in(spec: AgentSpec) -> list[tuple[str, str]]:
    """Return field and reference of what makes this agent code of somebody's own: imported, or a live object."""
    named = (("type", spec.type), ("evaluate", spec.evaluate), ("plan", spec.plan))
    return [(field, reference) for field, reference in named if reference is not None and ":" in reference]


def _defined_in(code: object) -> str | None:
    thing: Any = code
    while isinstance(thing, functools.partial | functools.partialmethod):
        thing = thing.func
    if isinstance(thing, ModuleType):
        return None
    module = getattr(thing, "__module__", None)  # of an object its class's; of a method its function's
    return module if isinstance(module, str) else None
