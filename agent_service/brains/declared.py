"""What a brain lets people call beside suggest, ingest and report: its methods."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from pydantic import PydanticUserError, TypeAdapter, ValidationError, validate_call
from pydantic.errors import PydanticSchemaGenerationError

from agent_service.errors import FieldError, InvalidInput, NotFound
from agent_service.models import Method
from agent_service.models.spelling import near

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

F = TypeVar("F", bound="Callable[..., Any]")

_MARK: Final = "__agent_service_method__"


@overload
def method(function: F) -> F: ...
@overload
def method(*, replay: bool = False) -> Callable[[F], F]: ...
def method(function: F | None = None, *, replay: bool = False) -> F | Callable[[F], F]:
    """Let the service serve a method of an agent: ``POST /api/v1/agents/NAME/methods/METHOD``.

    It is called in the agent's executor, never during another call. Annotations of its parameters are checked before it
    is called, and make its JSON Schema; what it returns must fit into JSON.

    Parameters
    ----------
    function
        The method; an ordinary one or ``async def``, which is awaited.
    replay
        Whether it changes what the agent knows, so that it is called again, in its place among the other facts, when
        the agent is built anew. It must then do the same thing every time, and nothing outside the agent.

    Examples
    --------
    >>> class Agent:
    ...     @method(replay=True)
    ...     def forget(self, before: int = 0) -> int:
    ...         "Forget what was measured before a number."
    ...         return before
    >>> [one.name for one in described(Agent())]
    ['forget']
    """
    if function is None:
        return functools.partial(_marked, replay=replay)
    return _marked(function, replay=replay)


def described(brain: object) -> tuple[Method, ...]:
    """Return the methods that ``brain``'s class declares, by name."""
    return tuple(
        Method(
            name=name,
            doc=inspect.getdoc(getattr(brain, name)) or "",
            parameters=_schema(getattr(brain, name)),
            replay=replay,
        )
        for name, replay in sorted(_declared(brain).items())
    )


def replayed(brain: object, name: str) -> bool:
    """Return whether ``brain`` declares a method of that name that is to be called again when it is built anew."""
    return _declared(brain).get(name, False)


def call(brain: object, name: str, args: Sequence[JsonValue], kwargs: Mapping[str, JsonValue]) -> Any:
    """Call a method that ``brain`` declares, in the thread that the brain lives in, and return what it returns.

    Raises
    ------
    NotFound
        When it declares none of that name; says which it does.
    InvalidInput
        When the arguments do not fit; names each.
    """
    there = _declared(brain)
    if name not in there:
        raise NotFound(f"there is no method {name!r}; {near(name, there)}it has {', '.join(sorted(there)) or 'none'}")
    bound: Callable[..., Any] = getattr(brain, name)
    entered = False

    @functools.wraps(bound)
    def enter(*given: Any, **named: Any) -> Any:
        nonlocal entered
        entered = True
        return bound(*given, **named)

    try:
        inspect.signature(bound).bind(*args, **kwargs)
    except TypeError as error:
        said = f"the arguments do not fit {name}{inspect.signature(bound)}: {error}"
        raise InvalidInput(said, errors=[FieldError("kwargs", str(error))]) from None
    try:
        checked = validate_call(enter)
    except (PydanticSchemaGenerationError, PydanticUserError):  # an annotation that pydantic cannot check
        return bound(*args, **kwargs)
    try:
        return checked(*args, **kwargs)
    except ValidationError as error:
        if entered:  # it is the method's own
            raise
        found = [
            FieldError(
                ".".join(["args" if isinstance(one["loc"][0], int) else "kwargs", *map(str, one["loc"])]), one["msg"]
            )
            for one in error.errors(include_input=False, include_url=False)
        ]
        said = "; ".join(f"{one.field}: {one.message}" for one in found)
        raise InvalidInput(f"the arguments do not fit {name}{inspect.signature(bound)}: {said}", errors=found) from None


def _marked(function: F, *, replay: bool) -> F:
    setattr(function, _MARK, replay)
    return function


def _declared(brain: object) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for cls in reversed(type(brain).__mro__):
        for name, member in vars(cls).items():
            replay = getattr(getattr(member, "__func__", member), _MARK, None)
            if isinstance(replay, bool):
                found[name] = replay
    return found


def _schema(bound: Callable[..., Any]) -> dict[str, JsonValue]:
    """Return the JSON Schema of a method's keyword arguments; those of which pydantic knows nothing may be anything."""
    properties: dict[str, JsonValue] = {}
    required: list[JsonValue] = []
    for name, one in _signature(bound).parameters.items():
        if one.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        schema: dict[str, JsonValue] = {"title": name}
        try:
            schema |= TypeAdapter(Any if one.annotation is inspect.Parameter.empty else one.annotation).json_schema()
        except (PydanticSchemaGenerationError, PydanticUserError, NameError):
            schema["description"] = f"as {bound.__name__} takes it"
        default: object = one.default
        if default is inspect.Parameter.empty:
            required.append(name)
        elif default is None or isinstance(default, bool | int | float | str):
            schema["default"] = default
        properties[name] = schema
    return {"type": "object", "properties": properties, "required": required}


def _signature(bound: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(bound, eval_str=True)
    except NameError:  # an annotation that is importable for type checkers only
        return inspect.signature(bound)
