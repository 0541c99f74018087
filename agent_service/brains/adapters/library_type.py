"""Types of agents that a library of optimizers is behind: what to ask the library for, and the brain that comes of it.

Where to look and for what stand in the agent's specification (``space``; ``objectives``, or ``outcome`` and
``direction``), for each family alike; ``config`` holds what only this library has.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent_service import references
from agent_service.brains.adapters.problem import Problem
from agent_service.brains.extras import how_to_install
from agent_service.errors import FieldError, InvalidConfig

if TYPE_CHECKING:
    from agent_service.models import AgentSpec


MOST_LISTED: Final = 100_000
"""Values, or combinations of them, that a library may list in memory."""


def library(module: str) -> Any:
    """Return a module of somebody's library, imported now: the service imports ours only to know their types."""
    return references.module(module)


class Search(BaseModel):
    """What the configuration of each family has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objectives: dict[str, Literal["maximize", "minimize"]] | None = Field(
        default=None,
        description="as objectives of the agent, which has them since; null: as those say, or all of the agent's "
        "outcomes in its direction",
        examples=[{"flux": "maximize", "width": "minimize"}],
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="what its random numbers start from")


class LibraryType:
    """Base of these types: made of ``config``; an agent's brain is made of it and the specification.

    Parameters of a subclass
    ------------------------
    package
        The package that it needs, as Python imports it; the extra of ours that brings it has its name.
    several
        Whether it can have several objectives.
    """

    Config: ClassVar[type[Search]] = Search
    package: ClassVar[str]
    preload: ClassVar[tuple[str, ...]] = ()  # what of it takes long to import, if it is not the package itself
    several: ClassVar[bool]

    def __init_subclass__(cls, *, package: str, several: bool = False) -> None:
        cls.package, cls.several = package, several

    def __init__(self, **config: Any) -> None:
        self.config: Any = self.Config(**config)

    @classmethod
    def is_installed(cls) -> bool:
        """Return whether the package is there; imports nothing."""
        return importlib.util.find_spec(cls.package) is not None

    @classmethod
    def check_spec(cls, config: Search, spec: AgentSpec) -> None:
        """Raise `InvalidConfig` when the package is not there, or the specification says too little."""
        if not cls.is_installed():
            raise InvalidConfig(cls.needs(cls.package, spec))
        try:
            problem = Problem.of(spec, config.objectives)
        except ValueError as error:
            message = str(error)
            raise InvalidConfig(message, errors=[FieldError(message.partition(" ")[0], message)]) from None
        if not cls.several and len(problem.objectives) != 1:
            message = f"type {spec.type!r} has one objective; name one of {', '.join(problem.objectives)}"
            raise InvalidConfig(f"config.objectives: {message}", errors=[FieldError("config.objectives", message)])

        if (listed := cls.listed(problem)) > MOST_LISTED:
            message = f"type {spec.type!r} would list {listed:,} values of it, and takes at most {MOST_LISTED:,}"
            raise InvalidConfig(
                f"space: {message}; make a range smaller, or float", errors=[FieldError("space", message)]
            )

    @classmethod
    def listed(cls, problem: Problem) -> int:
        """Return how many values of a space, or combinations of them, the library lists in memory."""
        return 0

    @classmethod
    def needs(cls, module: str | None, spec: AgentSpec) -> str:
        """Return what to say when a module is not there."""
        return f"type {spec.type!r} needs {module}; {how_to_install(cls.package)}"

    def problem(self, spec: AgentSpec) -> Problem:
        """Return what the library is to solve for an agent."""
        return Problem.of(spec, self.config.objectives)

    def brain(self, spec: AgentSpec) -> object:
        """Return the brain, with suggest and ingest. Imports the library."""
        raise NotImplementedError


def adapted(made: LibraryType, spec: AgentSpec) -> object:
    """Return the brain of what a type of a library made: the family of all of them.

    Raises `InvalidConfig` when a part of the library is not there.
    """
    try:
        return made.brain(spec)
    except ModuleNotFoundError as error:
        raise InvalidConfig(made.needs(error.name, spec)) from error
