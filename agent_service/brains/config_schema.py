"""What a class, factory or method takes: its JSON Schema, and what is wrong with a configuration for it.

A nested pydantic ``Config`` describes the configuration of a type, else its signature does.
"""

from __future__ import annotations

import inspect
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from agent_service.errors import MAX_ERRORS, FieldError
from agent_service.models.spelling import near
from agent_service.models.strict_numbers import holds_switch, wants_numbers
from agent_service.models.validation_messages import validation_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import JsonValue

_NAMED: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_REST: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def config_model(factory: object) -> type[BaseModel] | None:
    """Return the ``Config`` that a class or factory brings, None when it brings none."""
    model = getattr(factory, "Config", None)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def config_schema(factory: Callable[..., object], name: str) -> dict[str, JsonValue]:
    """Return the JSON Schema of the configuration of a class or factory; ``name`` is its title where it has none."""
    if (model := config_model(factory)) is not None:
        return model.model_json_schema()
    signature = _signature(factory)
    title = getattr(factory, "__name__", name)
    if signature is None:
        return {"title": title, "type": "object"}
    parameters = _named(signature).values()
    return {"title": title, **_schema_of(parameters), "additionalProperties": _is_open(signature)}


def arguments_schema(method: Callable[..., Any]) -> dict[str, JsonValue]:
    """Return the JSON Schema of a method's keyword arguments; those of which pydantic knows nothing may be anything."""
    signature = _signature(method) or inspect.Signature()
    parameters = [parameter for parameter in signature.parameters.values() if parameter.kind not in _REST]
    return _schema_of(parameters, unknown=f"as {method.__name__} takes it")


def signature_errors(factory: Callable[..., object], config: Mapping[str, JsonValue]) -> list[FieldError]:
    """Return what is wrong with a configuration by the signature of a class or factory."""
    signature = _signature(factory)
    if signature is None:
        return []
    named = _named(signature)
    errors = [
        FieldError(f"config.{name}", "is missing")
        for name, parameter in named.items()
        if parameter.default is inspect.Parameter.empty and name not in config
    ]
    for name, value in config.items():
        if len(errors) > MAX_ERRORS:
            break
        if name in named:
            errors += _value_errors(named[name], value)
        elif not _is_open(signature):
            takes = ", ".join(named) or "nothing"
            errors.append(FieldError(f"config.{name}", f"is unknown; {near(name, named)}it takes {takes}"))
    return errors


def as_annotated(factory: Callable[..., object], config: Mapping[str, JsonValue]) -> dict[str, object]:
    """Return a configuration with each value as the signature has it: a dataclass, a model, a tuple.

    A type with a ``Config`` of its own takes what was written; so does a parameter of a type pydantic knows nothing of.
    """
    signature = None if config_model(factory) is not None else _signature(factory)
    named = {} if signature is None else _named(signature)
    return {name: _validated(named[name], value) if name in named else value for name, value in config.items()}


def _signature(function: Callable[..., object]) -> inspect.Signature | None:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError:  # an annotation that is importable for type checkers only
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _named(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    return {name: parameter for name, parameter in signature.parameters.items() if parameter.kind in _NAMED}


def _is_open(signature: inspect.Signature) -> bool:
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signature.parameters.values())


def _adapter(parameter: inspect.Parameter) -> TypeAdapter[Any] | None:
    annotation = parameter.annotation
    try:
        return TypeAdapter(Any if annotation is inspect.Parameter.empty else annotation)
    except (PydanticUserError, NameError):  # a class of somebody's own, or one for type checkers only
        return None


def _validated(parameter: inspect.Parameter, value: JsonValue) -> object:
    adapter = None if isinstance(parameter.annotation, str) else _adapter(parameter)
    result: object = value if adapter is None else adapter.validate_python(value)
    # of an Iterable pydantic makes what can be gone through once
    return result if not isinstance(value, list) or isinstance(result, Sized) else value


def _value_errors(parameter: inspect.Parameter, value: JsonValue) -> list[FieldError]:
    if holds_switch(value) and wants_numbers(parameter.annotation):
        return [FieldError(f"config.{parameter.name}", "must be a number, not true or false")]
    try:
        _validated(parameter, value)
    except ValidationError as error:
        path = f"config.{parameter.name}"
        return [
            FieldError(f"{path}.{wrong.field}" if wrong.field else path, wrong.message)
            for wrong in validation_errors(error)
        ]
    return []


def _schema_of(parameters: Iterable[inspect.Parameter], *, unknown: str | None = None) -> dict[str, JsonValue]:
    """Return the JSON Schema of parameters; ``unknown`` describes those of a type that JSON cannot say."""
    properties: dict[str, JsonValue] = {}
    required: list[JsonValue] = []
    for parameter in parameters:
        schema: dict[str, JsonValue] = {"title": parameter.name, **_parameter_schema(parameter, unknown)}
        default: object = parameter.default
        if default is inspect.Parameter.empty:
            required.append(parameter.name)
        elif default is None or isinstance(default, bool | int | float | str):
            schema["default"] = default
        properties[parameter.name] = schema
    return {"type": "object", "properties": properties, "required": required}


def _parameter_schema(parameter: inspect.Parameter, unknown: str | None) -> dict[str, JsonValue]:
    adapter = _adapter(parameter)
    try:
        if adapter is not None:
            return adapter.json_schema()
    except PydanticUserError:
        pass
    return {} if unknown is None else {"description": unknown}
