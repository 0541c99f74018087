"""Spaces: which values each actuator of an agent may have, and how values are checked and converted.

A space is a mapping of actuator to dimension. A number stays a number, of its dimension's type; a text or true is no
number. An actuator without a dimension takes any finite number.
"""

from __future__ import annotations

import functools
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, cast

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from agent_service.models._base import Ends, FewNames, Finite, Name, Request, Value
from agent_service.models.guardrail_rules import parse
from agent_service.models.real_numbers import at_home
from agent_service.models.spelling import near
from agent_service.models.values import is_number, plain, same, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from agent_service.models._base import Point
    from agent_service.models._guardrails import Guardrails

MAX_VALUES: Final = 1000
"""Most values of a choice."""

_AGREE: Final = 1e-9
"""Fraction of a range's ends: a number outside by no more, as by rounding, is the end."""

_LISTED: Final = 10
"""Values of a choice that a message names."""

_WITHOUT_ORDER: Final = {"bool": "true or false", "text": "a text"}

_READBACK: Final = 1e-6
"""Fraction of a value: a measured number no farther from a choice's value is that value."""

_ROUNDED: Final = 1e-7
"""A part of a value that arithmetic may cost, of 32 bits, too: a number that is no farther from a value is that one."""

_LARGEST_ROUNDED: Final = 1e-6
"""How far from a whole number that may be at most."""


class _Dimension(Request):
    """What all dimensions have."""

    optional: bool = Field(default=False, description="whether a point may lack it: the actuator stays where it is")
    when: dict[Name, list[Value]] = Field(
        default_factory=dict[str, list[Value]],
        description="values of other actuators for which a point has it; for others the point lacks it, and the "
        "actuator stays where it is",
    )

    @property
    def limitable(self) -> bool:
        """Whether it has numbers in an order, which bounds can limit."""
        return True

    @property
    def ends(self) -> Ends | None:
        """Lowest and highest number of a range; None of any other dimension."""
        return None

    @property
    def size(self) -> int | None:
        """How many values a dimension has; None for a range."""
        return None

    def nth(self, index: int) -> Value:
        """Return one of the values, counted from 0; not for a range."""
        raise IndexError(index)

    @property
    def may_lack(self) -> bool:
        """Whether there are points without it."""
        return self.optional or bool(self.when)

    def fitted(self, value: Value, *, measured: bool = False) -> Value:
        """Return a plain value in the dimension's type; raise ValueError, saying what is wrong, if it does not fit.

        ``measured`` also takes what a device may read: a number outside the range, 0 and 1 for false and true.
        """
        raise NotImplementedError


class FloatRange(_Dimension):
    """Numbers from ``low`` to ``high``, in the actuator's units; null: no end."""

    type: Literal["float"] = "float"
    low: Finite | None = None
    high: Finite | None = None

    @model_validator(mode="after")
    def _ordered(self) -> FloatRange:
        _refuse_disorder(self.low, self.high)
        return self

    @property
    def ends(self) -> Ends | None:
        """Lowest and highest number."""
        return self.low, self.high

    def fitted(self, value: Value, *, measured: bool = False) -> Value:
        """Return a float."""
        number = float(_number(value))
        if number != value:
            raise ValueError(f"is {shown(value)}, which no float holds exactly; a whole number needs type int")
        return number if measured else float(_inside(number, self.low, self.high))


class IntRange(_Dimension):
    """Whole numbers from ``low`` to ``high``; null: no end."""

    type: Literal["int"]
    low: int | None = None
    high: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, data: Any) -> Any:
        for end in ("low", "high"):
            given = cast("dict[str, Any]", data).get(end)
            if type(given) is int and type(at_home(given)) is not int:
                raise ValueError(f"{end} is a whole number beyond 64 bits")
        return data

    @model_validator(mode="after")
    def _ordered(self) -> IntRange:
        _refuse_disorder(self.low, self.high)
        return self

    @property
    def ends(self) -> Ends | None:
        """Lowest and highest number."""
        return self.low, self.high

    def fitted(self, value: Value, *, measured: bool = False) -> Value:
        """Return a whole number."""
        number = _number(value)
        whole = number if isinstance(number, int) else round(number)
        if abs(number - whole) > min(_ROUNDED * max(1.0, abs(number)), _LARGEST_ROUNDED):
            raise ValueError(f"is {shown(value)}, not a whole number")
        if type(at_home(whole)) is not int:
            raise ValueError(f"is {shown(value)}, a whole number beyond 64 bits")
        return whole if measured else _inside(whole, self.low, self.high)


class Choice(_Dimension):
    """One of several values; ``ordered`` says that their order means something."""

    type: Literal["choice"]
    values: list[Value] = Field(min_length=1, max_length=MAX_VALUES)
    ordered: bool = False

    @model_validator(mode="after")
    def _different(self) -> Choice:
        for number, value in enumerate(self.values):
            if any(same(value, other) for other in self.values[:number]):
                raise ValueError(f"values holds {shown(value)} twice")
        return self

    @property
    def limitable(self) -> bool:
        """Whether it has numbers in an order, which bounds can limit."""
        return self.ordered and all(map(is_number, self.values))

    @property
    def size(self) -> int | None:
        """How many values there are."""
        return len(self.values)

    def nth(self, index: int) -> Value:
        """Return one of the values, counted from 0."""
        return self.values[index]

    def fitted(self, value: Value, *, measured: bool = False) -> Value:
        """Return the one of the values that it is."""
        if (
            measured
            and is_number(value)
            and value in (0, 1)
            and all(isinstance(choice, bool) for choice in self.values)
        ):
            value = bool(value)  # as a device or a table has it
        for choice in self.values:
            if same(choice, value):
                return choice
        numbers = [choice for choice in self.values if is_number(choice)]
        if numbers and is_number(number := value):
            nearest = min(numbers, key=lambda choice: abs(choice - number))
            if math.isclose(nearest, number, rel_tol=_READBACK if measured else _ROUNDED):
                return nearest
        more = ", …" if len(self.values) > _LISTED else ""
        listed = ", ".join(map(shown, self.values[:_LISTED])) + more
        raise ValueError(f"is {shown(value)}, none of {listed}{self._hint(value)}")

    def _hint(self, value: Value) -> str:
        """Return the text that was perhaps meant."""
        texts = [choice for choice in self.values if isinstance(choice, str)]
        if not isinstance(value, str):
            return ""
        alike = [text for text in texts if text.strip().casefold() == value.strip().casefold()]
        hint = f"did you mean {alike[0]!r}?" if alike else near(value, texts).rstrip()
        return f"; {hint}" if hint else ""


class Truth(_Dimension):
    """True or false."""

    type: Literal["bool"]

    @property
    def limitable(self) -> bool:
        """Whether it has numbers in an order, which bounds can limit."""
        return False

    @property
    def size(self) -> int | None:
        """How many values there are."""
        return 2

    def nth(self, index: int) -> Value:
        """Return false at 0, true at 1."""
        return bool(index)

    def fitted(self, value: Value, *, measured: bool = False) -> Value:
        """Return true or false."""
        if measured and is_number(value) and value in (0, 1):
            return bool(value)
        if not isinstance(value, bool):
            raise ValueError(f"is {shown(value)}, neither true nor false")  # noqa: TRY004 - a bad value
        return value


class Text(_Dimension):
    """Any text; for a few texts, use a choice."""

    type: Literal["text"]

    @property
    def limitable(self) -> bool:
        """Whether it has numbers in an order, which bounds can limit."""
        return False

    def fitted(self, value: Value, *, measured: bool = False) -> Value:
        """Return the text."""
        if not isinstance(value, str):
            raise ValueError(f"is {shown(value)}, not a text")  # noqa: TRY004 - a bad value
        return value


def _written(data: Any) -> Any:
    """Return a dimension with its type: a range is written as ``[low, high]``, too."""
    if isinstance(data, list | tuple):
        ends = list(cast("Sequence[Any]", data))
        if len(ends) != 2:  # noqa: PLR2004 - two ends
            raise ValueError("a range is [low, high]; several values are {type: choice, values: [...]}")
        low, high = ends
        opened = [None if end in (-math.inf, math.inf) else end for end in (low, high)]
        return {"type": "float", "low": opened[0], "high": opened[1]}
    if isinstance(data, dict) and "type" not in data:
        return {"type": "float", **cast("dict[str, Any]", data)}
    return cast("Any", data)


Dimension: TypeAlias = Annotated[
    Annotated[FloatRange | IntRange | Choice | Truth | Text, Field(discriminator="type")], BeforeValidator(_written)
]
"""The values that one actuator may have."""

Space: TypeAlias = FewNames[dict[Name, Dimension]]
"""Actuator to the values that it may have."""


NO_SPACE: Final[Mapping[str, Dimension]] = MappingProxyType({})


@functools.cache
def _space_type() -> TypeAdapter[dict[str, Dimension]]:
    return TypeAdapter(Space)  # not when this is imported: it takes a while


def read_space(data: Mapping[str, object]) -> dict[str, Dimension]:
    """Return a space from JSON or from Python; raise `ValidationError` if it is none."""
    return _space_type().validate_python(dict(data))


def fitted(
    point: Mapping[str, object], actuators: Sequence[str], space: Mapping[str, Dimension], *, measured: bool = False
) -> tuple[Point, dict[str, str]]:
    """Return the actuators' part of ``point`` in the space's types, and by actuator what is wrong with it.

    ``measured`` as for `_Dimension.fitted`; values that the point should lack are then left out, for a run may read
    them.

    Examples
    --------
    >>> space = {"filt": Choice(type="choice", values=["Al", "Ti"]), "turns": IntRange(type="int", low=0, high=8)}
    >>> fitted({"filt": "Al", "turns": 3.0}, ["filt", "turns"], space)
    ({'filt': 'Al', 'turns': 3}, {})
    >>> fitted({"filt": "al"}, ["filt", "turns"], space)
    ({}, {'filt': "is 'al', none of 'Al', 'Ti'; did you mean 'Al'?", 'turns': 'is missing'})
    """
    result: Point = {}
    wrong: dict[str, str] = {}
    given = {name for name in actuators if name in point and not (point[name] is None and _may_lack(space.get(name)))}
    for name in actuators:
        if name not in given:
            continue
        value = plain(point[name])
        try:
            if value is None:
                raise ValueError(_no_value(point[name]))  # noqa: TRY301 - said as the others
            result[name] = space[name].fitted(value, measured=measured) if name in space else _number(value)
        except ValueError as error:
            wrong[name] = str(error)
    for name in actuators:
        dimension = space.get(name)
        unmet = _unmet(dimension, result, wrong) if dimension is not None else ""
        if unmet and measured:
            result.pop(name, None)
            wrong.pop(name, None)
        elif unmet and name in given:
            wrong.setdefault(name, f"has to be left out unless {unmet}")
        elif not unmet and name not in given and not (dimension is not None and dimension.optional):
            wrong[name] = "is missing"
    return result, {name: wrong[name] for name in actuators if name in wrong}


def _may_lack(dimension: Dimension | None) -> bool:
    return dimension is not None and dimension.may_lack


def check_space(space: Mapping[str, Dimension], actuators: Collection[str]) -> None:
    """Raise ValueError unless a space names only these actuators, and its ``when`` is possible."""
    if foreign := sorted(set(space) - set(actuators)):
        raise ValueError(f"space names {', '.join(foreign)}, which is no actuator of this agent")
    for name, dimension in space.items():
        for other, values in dimension.when.items():
            if other not in space or other == name:
                raise ValueError(f"space.{name}.when names {other}, which is no other actuator in space")
            for value in values:
                try:
                    space[other].fitted(value)
                except ValueError as error:
                    raise ValueError(f"space.{name}.when.{other} {error}") from None
        if _depends_on(name, name, space):
            raise ValueError(f"space.{name}.when goes round in a circle: {name} depends on itself")


def check_guardrails(guardrails: Guardrails, space: Mapping[str, Dimension]) -> None:
    """Raise ValueError if guardrails do not fit a space: limits without ordered numbers, or values that it lacks."""
    for name in guardrails.allowed.keys() & space.keys():
        for value in guardrails.allowed[name]:
            try:
                space[name].fitted(value)
            except ValueError as error:
                raise ValueError(f"guardrails.allowed.{name} {error}") from None
    in_rules = {name for rule in guardrails.rules for name in parse(rule).names}
    limited = {"bounds": guardrails.bounds, "max_step": guardrails.max_step, "rules": sorted(in_rules)}
    for rule, names in limited.items():
        for name in names:
            dimension = space.get(name)
            if dimension is not None and not dimension.limitable:
                kind = _WITHOUT_ORDER.get(dimension.type, "a choice whose values are no numbers in order")
                raise ValueError(
                    f"guardrails.{rule} names {name}, which is {kind}: that has no lowest and highest; "
                    f"guardrails.allowed.{name} says which values it may have"
                )


def _depends_on(name: str, wanted: str, space: Mapping[str, Dimension], depth: int = 0) -> bool:
    return depth <= len(space) and any(
        other == wanted or _depends_on(other, wanted, space, depth + 1)
        for other in (space[name].when if name in space else ())
    )


def _unmet(dimension: Dimension, point: Point, wrong: Mapping[str, str]) -> str:
    """Return the condition of ``when`` that a point does not meet; an empty text when it meets all."""
    for other, values in dimension.when.items():
        if other not in wrong and not any(other in point and same(point[other], value) for value in values):
            return f"{other} is {' or '.join(map(shown, values)) or 'something else'}"
    return ""


def _number(value: Value) -> int | float:
    if not is_number(value):
        raise ValueError(f"is {shown(value)}, not a number")
    return value


def _inside(number: float, low: float | None, high: float | None) -> int | float:
    """Return a number of a range, or an end for a number very close to it; raise ValueError outside."""
    slack = (
        0.0
        if isinstance(number, int)
        else _AGREE * max((abs(end) for end in (low, high) if end is not None), default=0)
    )
    if low is not None and number < low:
        if number < low - slack:
            raise ValueError(f"is {shown(number)}, below {shown(low)}")
        return low
    if high is not None and number > high:
        if number > high + slack:
            raise ValueError(f"is {shown(number)}, above {shown(high)}")
        return high
    return number


def _refuse_disorder(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"low = {low} is above high = {high}")


def _no_value(value: object) -> str:
    if value is None or isinstance(value, float):
        return f"is {value!r}, not a finite number"
    return f"is something of type {type(value).__name__}, not a number, a text, or true or false"
