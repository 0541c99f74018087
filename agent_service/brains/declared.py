"""What a brain lets people see, set and call beside suggest, ingest and report: its variables and its methods."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast, overload

from pydantic import PydanticUserError, TypeAdapter, ValidationError, validate_call

from agent_service.brains.config_schema import arguments_schema, config_model
from agent_service.errors import FieldError, InvalidInput, NotFound
from agent_service.models import Method
from agent_service.models.spelling import near
from agent_service.models.validation_messages import sentence, validation_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue
    from pydantic.fields import FieldInfo

F = TypeVar("F", bound="Callable[..., Any]")

_MARK: Final = "__agent_service_method__"


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
    >>> variables(Agent())
    {'gain': True}
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with a class that is defined in a notebook; a property does not pickle by itself."""
        return type(self), (self.fget, self.fset, self.fdel, self.__doc__)


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


def variables(brain: object) -> dict[str, bool]:
    """Return the names of the variables that ``brain``'s class declares, each with whether it can be set.

    A field of the class's pydantic ``Config`` marked ``json_schema_extra={"writable": True}`` counts as one, when the
    brain has an attribute of that name.
    """
    writable = {
        name: member.fset is not None
        for cls in reversed(type(brain).__mro__)
        for name, member in vars(cls).items()
        if isinstance(member, variable)
    }
    for name, field in _config_fields(brain).items():
        extra: object = field.json_schema_extra
        if isinstance(extra, dict) and cast("dict[str, Any]", extra).get("writable") and hasattr(brain, name):
            writable.setdefault(name, True)
    return writable


def assign(brain: object, name: str, value: JsonValue) -> Any:
    """Set a variable, and return what its setter returned: something to await where the setter is a coroutine.

    Raises `ValidationError` when the configuration has a field of that name, and the value does not fit it.
    """
    fitting: Any = value
    if (field := _config_fields(brain).get(name)) is not None:
        fitting = TypeAdapter(cast("Any", Annotated[field.annotation, field])).validate_python(value)
    member = inspect.getattr_static(type(brain), name, None)
    if isinstance(member, property) and member.fset is not None:
        return member.fset(brain, fitting)
    return setattr(brain, name, fitting)


def described(brain: object) -> tuple[Method, ...]:
    """Return the methods that ``brain``'s class declares, by name."""
    return tuple(
        Method(
            name=name,
            doc=inspect.getdoc(getattr(brain, name)) or "",
            parameters=arguments_schema(getattr(brain, name)),
            replay=replay,
        )
        for name, replay in sorted(_declared(brain).items())
    )


def replayed(brain: object, name: str) -> bool:
    """Return whether ``brain`` declares a method of that name that is to be called again when it is built anew."""
    return _declared(brain).get(name, False)


def call(brain: object, name: str, args: Sequence[JsonValue], kwargs: Mapping[str, JsonValue]) -> Any:
    """Call a method that ``brain`` declares, in the thread that the brain lives in, and return what it returns.

    Raises `NotFound` when it declares none of that name, `InvalidInput` when the arguments do not fit.
    """
    known = _declared(brain)
    if name not in known:
        raise NotFound(f"there is no method {name!r}; {near(name, known)}it has {', '.join(sorted(known)) or 'none'}")
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
        message = f"the arguments do not fit {name}{inspect.signature(bound)}: {error}"
        raise InvalidInput(message, errors=[FieldError("kwargs", str(error))]) from None
    try:
        checked = validate_call(enter)
    except PydanticUserError:  # an annotation that pydantic cannot check
        return bound(*args, **kwargs)
    try:
        return checked(*args, **kwargs)
    except ValidationError as error:
        if entered:  # it is the method's own
            raise
        wrong = [
            FieldError(f"{'args' if part.field[:1].isdigit() else 'kwargs'}.{part.field}", part.message)
            for part in validation_errors(error)
        ]
        message = f"the arguments do not fit {name}{inspect.signature(bound)}: {sentence(wrong)}"
        raise InvalidInput(message, errors=wrong) from None


def _config_fields(brain: object) -> dict[str, FieldInfo]:
    model = config_model(type(brain))
    return {} if model is None else model.model_fields


def _marked(function: F, *, replay: bool) -> F:
    setattr(function, _MARK, replay)
    return function


def _declared(brain: object) -> dict[str, bool]:
    return {
        name: replay
        for cls in reversed(type(brain).__mro__)
        for name, member in vars(cls).items()
        if isinstance(replay := getattr(getattr(member, "__func__", member), _MARK, None), bool)
    }
