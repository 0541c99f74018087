"""Agent types: the installed brains, a user's own class or factory by ``module:callable``, and live objects."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from agent_service import references
from agent_service.brains.coroutines import awaited
from agent_service.brains.listed import ANY, Listed
from agent_service.errors import MAX_ERRORS, FieldError, InvalidConfig, UnknownType
from agent_service.models.problems import validation_errors
from agent_service.models.spelling import near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import JsonValue

    from agent_service.models import AgentSpec

GROUP: Final = "agent_service.agents"
"""Entry-point group in which a package names the brains it brings."""

_NAMED: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class AgentType:
    """A type of agent: what makes its brain, and what that takes.

    Parameters
    ----------
    name
        Name of the installed type, ``module:callable``, or ``live:NAME``.
    factory
        A class or function, ``async`` or not, that is called with ``**config`` and returns a brain. A nested pydantic
        ``Config`` describes
        the configuration, else the signature does. A classmethod ``check(config, *, actuators, outcomes)`` may raise
        ValueError when a configuration does not fit the agent; ``config`` is the ``Config`` if there is one, else a
        dict.
    """

    name: str
    factory: Callable[..., object]

    @property
    def summary(self) -> str:
        """First line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    def schema(self) -> dict[str, JsonValue]:
        """Return the JSON Schema of the configuration."""
        model = self._model()
        return _schema(self.factory, self.name) if model is None else model.model_json_schema()

    def validate(self, spec: AgentSpec) -> None:
        """Check an agent's configuration, without making the brain.

        Raises
        ------
        InvalidConfig
            A key is unknown, missing or of the wrong type, or the configuration does not fit the agent's actuators and
            outcomes; names each field, as in ``config.bounds.mirror_x``.
        """
        model = self._model()
        config: object = dict(spec.config)
        if model is None:
            self._refuse(_signature_errors(self.factory, spec.config))
        else:
            try:
                config = model.model_validate(spec.config)
            except ValidationError as error:
                self._refuse(FieldError(_path(one.field), one.message) for one in validation_errors(error))
        check = getattr(self.factory, "check", None)
        if callable(check):
            try:
                awaited(check(config, actuators=tuple(spec.actuators), outcomes=tuple(spec.outcomes)))
            except ValueError as error:
                self._refuse([FieldError("config", str(error))])

    def build(self, spec: AgentSpec) -> object:
        """Make the brain: ``factory(**config)``. Runs the brain's own code, so call it in the agent's executor.

        Raises
        ------
        TypeError
            When what the factory made lacks a method that every brain needs.
        """
        brain = awaited(self.factory(**spec.config))
        needed = ["ingest"] if spec.listen == "all" else ["suggest", "ingest"]
        if missing := [name for name in needed if not callable(getattr(brain, name, None))]:
            hint = '; one that only listens needs listen = "all"' if missing == ["suggest"] else ""
            raise TypeError(
                f"type {self._called!r} made a {type(brain).__name__} without {' and '.join(missing)}; a brain has "
                f"suggest(num_points) and ingest(points){hint}"
            )
        return brain

    @property
    def _called(self) -> str:
        """What a person calls it: a live object's reference is a random name."""
        return str(getattr(self.factory, "__name__", self.name)) if references.is_live(self.name) else self.name

    def _model(self) -> type[BaseModel] | None:
        model = getattr(self.factory, "Config", None)
        return model if isinstance(model, type) and issubclass(model, BaseModel) else None

    def _refuse(self, found: Iterable[FieldError]) -> None:
        errors = list(found)
        if errors:
            said = "; ".join(f"{one.field}: {one.message}" for one in errors)
            raise InvalidConfig(f"the configuration does not fit type {self._called!r}: {said}", errors=errors)


def resolve(type: str, listed: Listed = ANY) -> AgentType:  # noqa: A002 - the field's name in AgentSpec
    """Return the agent type of that name. May import a module and run its code: call it from a worker thread.

    Parameters
    ----------
    type
        Name of an installed type, ``module:callable``, or ``live:NAME`` for an object of this process.
    listed
        Where ``module:callable`` must be defined.

    Raises
    ------
    UnknownType
        When there is none; says what is near, or why the import failed.
    InvalidInput
        When it is defined elsewhere than it must be.
    """
    if references.is_live(type):
        return AgentType(type, references.find(type))
    if ":" in type:
        found = _imported(type)
        listed.refuse_foreign(found, field="type", reference=type)
        return AgentType(type, found)
    points = {one.name: one for one in entry_points(group=GROUP)}
    if type not in points:
        known = ", ".join(sorted(points)) or "none"
        raise UnknownType(
            f"there is no agent type {type!r}; {near(type, points)}installed: {known}; "
            "your own is written module:callable"
        )
    return AgentType(type, _imported(points[type].value, called=type))


def installed() -> list[AgentType]:
    """Return the installed types that can be imported, sorted by name. Imports their modules: use a worker thread."""
    found: list[AgentType] = []
    for name in sorted({one.name for one in entry_points(group=GROUP)}):
        try:
            found.append(resolve(name))
        except UnknownType:  # somebody's broken package must not hide the others; naming the type says why it fails
            continue
    return found


def _imported(reference: str, *, called: str | None = None) -> Callable[..., object]:
    who = f"agent type {called or reference!r}"
    if not references.is_import(reference):
        raise UnknownType(f"{who} is not written as module:callable, for example my_agents:Scanner")
    attribute = reference.partition(":")[2]
    try:
        found = references.imported(reference)
    except references.Unresolved as error:
        if error.module is None:
            raise UnknownType(f"{who}: {error}; it must be importable where the service runs") from error
        hint = near(attribute, [name for name, value in vars(error.module).items() if callable(value)])
        raise UnknownType(f"{who}: {error}; {hint}name a class or function") from None
    if not callable(found):
        raise UnknownType(f"{who}: {attribute} is of type {type(found).__name__}, not a class or function")
    return found


def _path(field: str) -> str:
    return f"config.{field}" if field else "config"


# --- types without a Config: their signature speaks


def _signature(factory: Callable[..., object]) -> inspect.Signature | None:
    try:
        return inspect.signature(factory, eval_str=True)
    except NameError:  # an annotation that is importable for type checkers only
        return inspect.signature(factory)
    except (TypeError, ValueError):
        return None


def _adapter(parameter: inspect.Parameter) -> TypeAdapter[Any] | None:
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return None
    try:
        return TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None


def _named(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    return {name: one for name, one in signature.parameters.items() if one.kind in _NAMED}


def _is_open(signature: inspect.Signature) -> bool:
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in signature.parameters.values())


def _signature_errors(factory: Callable[..., object], config: Mapping[str, JsonValue]) -> list[FieldError]:
    signature = _signature(factory)
    if signature is None:
        return []
    named = _named(signature)
    found = [
        FieldError(f"config.{name}", "is missing")
        for name, one in named.items()
        if one.default is inspect.Parameter.empty and name not in config
    ]
    for name, value in config.items():
        if len(found) > MAX_ERRORS:
            break
        if name not in named:
            if not _is_open(signature):
                found.append(FieldError(f"config.{name}", f"is unknown; {near(name, named)}it takes {_listed(named)}"))
            continue
        adapter = _adapter(named[name])
        try:
            if adapter is not None:
                adapter.validate_python(value)
        except ValidationError as error:
            found += [FieldError(_below(f"config.{name}", one.field), one.message) for one in validation_errors(error)]
    return found


def _below(path: str, field: str) -> str:
    return f"{path}.{field}" if field else path


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _schema(factory: Callable[..., object], name: str) -> dict[str, JsonValue]:
    signature = _signature(factory)
    title = getattr(factory, "__name__", name)
    if signature is None:
        return {"title": title, "type": "object"}
    properties: dict[str, JsonValue] = {}
    named = _named(signature)
    for key, one in named.items():
        properties[key] = {"title": key, **_parameter_schema(one)}
    required: list[JsonValue] = [key for key, one in named.items() if one.default is inspect.Parameter.empty]
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": _is_open(signature),
    }


def _parameter_schema(parameter: inspect.Parameter) -> dict[str, JsonValue]:
    adapter = _adapter(parameter)
    schema: dict[str, JsonValue] = {}
    if adapter is not None:
        try:
            schema = adapter.json_schema()
        except PydanticUserError:  # a type that JSON cannot say
            schema = {}
    default: object = parameter.default
    if default is None or isinstance(default, bool | int | float | str):
        schema["default"] = default
    return schema
