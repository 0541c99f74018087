"""Agent types: the installed brains, a user's own class or factory by ``module:callable``, and live objects."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent_service import references
from agent_service.brains import families
from agent_service.brains.allowed_modules import ANY, Listed
from agent_service.brains.config_schema import as_annotated, config_model, config_schema, signature_errors
from agent_service.brains.coroutines import awaited
from agent_service.brains.extras import how_to_install
from agent_service.errors import FieldError, InvalidConfig, UnknownType
from agent_service.models.spelling import near
from agent_service.models.validation_messages import sentence, validation_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from agent_service.models import AgentSpec

GROUP: Final = "agent_service.agents"
"""Entry-point group in which a package names the brains it brings."""


@dataclass(frozen=True, slots=True)
class AgentType:
    """A type of agent: what makes its brain, and what that takes.

    ``name`` is that of an installed type, ``module:callable`` or ``live:NAME``. ``factory`` is a class or function,
    ``async`` or not, that is called with ``**config`` and returns a brain. A nested pydantic ``Config`` describes the
    configuration, else the signature does. A classmethod ``check(config, *, actuators, outcomes)`` may raise ValueError
    when a configuration does not fit the agent; ``config`` is the ``Config`` if there is one, else a dict. One
    ``check_spec(config, spec)`` may raise `InvalidConfig` for anything in the agent's specification. One
    ``filled(spec)`` returns the configuration with what the type takes from the rest of that, as its objectives.
    """

    name: str
    factory: Callable[..., object]

    @property
    def summary(self) -> str:
        """First line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    def schema(self) -> dict[str, JsonValue]:
        """Return the JSON Schema of the configuration."""
        return config_schema(self.factory, self.name)

    def validate(self, spec: AgentSpec) -> None:
        """Check an agent's configuration, without making the brain.

        Raises `InvalidConfig`, which names each field, as in ``config.bounds.mirror_x``, when a key is unknown, missing
        or of the wrong type, or the configuration does not fit the agent's actuators and outcomes.
        """
        model = config_model(self.factory)
        written = families.filled(self.factory, spec)
        config: object = written
        if model is None:
            self._refuse(signature_errors(self.factory, written))
        else:
            try:
                config = model.model_validate(written)
            except ValidationError as error:
                self._refuse(
                    [FieldError(_path(wrong.field), wrong.message) for wrong in validation_errors(error, model)]
                )
        check_spec = getattr(self.factory, "check_spec", None)
        if callable(check_spec):
            check_spec(config, spec)
        check = getattr(self.factory, "check", None)
        if callable(check):
            try:
                awaited(check(config, actuators=tuple(spec.actuators), outcomes=tuple(spec.outcomes)))
            except ValueError as error:
                self._refuse([FieldError("config", str(error))])

    def build(self, spec: AgentSpec) -> object:
        """Make the brain: ``factory(**config)``, each value as its parameter is annotated, a dataclass for example.

        Runs the brain's own code, so call it in the agent's executor.
        """
        config = families.filled(self.factory, spec)
        return awaited(self.factory(**as_annotated(self.factory, copy.deepcopy(config))))

    @property
    def called(self) -> str:
        """What a person calls it: a live object's reference is a random name."""
        return str(getattr(self.factory, "__name__", self.name)) if references.is_live(self.name) else self.name

    def _refuse(self, errors: list[FieldError]) -> None:
        if errors:
            raise InvalidConfig(
                f"the configuration does not fit type {self.called!r}: {sentence(errors)}", errors=errors
            )


def resolve(type: str, listed: Listed = ANY) -> AgentType:  # noqa: A002 - the field's name in AgentSpec
    """Return the agent type of that name. May import a module and run its code: call it from a worker thread.

    ``type`` is the name of an installed type, ``module:callable``, or ``live:NAME`` for an object of this process.
    Raises `UnknownType`, which says what is near or why the import failed; `InvalidInput` when its module is not on the
    list.
    """
    if references.is_live(type):
        return AgentType(type, references.find(type))
    if ":" in type:
        factory = _imported(type)
        listed.refuse_foreign(factory, field="type", reference=type)
        return AgentType(type, families.maker_of(factory))
    points = {point.name: point for point in entry_points(group=GROUP)}
    if type not in points:
        known = ", ".join(sorted(points)) or "none"
        raise UnknownType(
            f"there is no agent type {type!r}; {near(type, points)}installed: {known}; "
            "your own is written module:callable"
        )
    return AgentType(type, _imported(points[type].value, called=type))


def installed() -> list[AgentType]:
    """Return the installed types that can be imported, sorted by name. Imports their modules: use a worker thread.

    Those whose class says by ``is_installed`` that its library is not there are left out.
    """
    types: list[AgentType] = []
    for name in sorted({point.name for point in entry_points(group=GROUP)}):
        try:
            agent_type = resolve(name)
        except UnknownType:  # somebody's broken package must not hide the others; naming the type says why it fails
            continue
        is_installed = getattr(agent_type.factory, "is_installed", None)
        if not callable(is_installed) or is_installed():
            types.append(agent_type)
    return types


def _imported(reference: str, *, called: str | None = None) -> Callable[..., object]:
    who = f"agent type {called or reference!r}"
    if not references.is_import(reference):
        raise UnknownType(f"{who} is not written as module:callable, for example my_agents:Scanner")
    attribute = reference.partition(":")[2]
    try:
        factory = references.imported(reference)
    except references.Unresolved as error:
        if error.module is None:
            package = reference.partition(":")[0].partition(".")[0]
            raise UnknownType(f"{who}: {error}; {how_to_install(package)}") from error
        hint = near(attribute, [name for name, value in vars(error.module).items() if callable(value)])
        raise UnknownType(f"{who}: {error}; {hint}name a class or function") from None
    if not callable(factory):
        raise UnknownType(f"{who}: {attribute} is of type {type(factory).__name__}, not a class or function")
    return factory


def _path(field: str) -> str:
    return f"config.{field}" if field else "config"
