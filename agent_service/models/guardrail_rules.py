"""The language of ``guardrails.rules``: ``abs(v1 - v2) <= 300``, a comparison of actuators with numbers.

A rule is arithmetic in Python's syntax: it is parsed, and its parts are checked against the short list below; then
`simpleeval` evaluates it, with floats only. So no rule can call, import, or take long: there are no whole numbers that
grow without end, no texts, no attributes. If a rule's value is not finite, it forbids the point.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import ast
import functools
import math
import operator
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from simpleeval import InvalidExpression, SimpleEval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_LENGTH: Final = 500
"""Most characters of a rule."""

MAX_RULES: Final = 64
"""Most rules of one set of guardrails."""

_MAX_DEPTH: Final = 64
_UNREADABLE: Final = re.compile(r"`([^`]+)`|\b([^\W\d]\w*(?:\.[^\W\d]\w*)+)")
"""Names that stand for one actuator, and that Python would read otherwise: in backticks, or with dots in them."""

_PLACE: Final = "__name_{}__"

_FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], int, int]]] = {
    "abs": (abs, 1, 1),
    "min": (min, 2, 16),
    "max": (max, 2, 16),
    "hypot": (math.hypot, 1, 16),
    **{name: (getattr(math, name), 1, 1) for name in ("sqrt", "exp", "log", "log10", "floor", "ceil")},
    **{name: (getattr(math, name), 1, 1) for name in ("sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: (getattr(math, name), 1, 1) for name in ("radians", "degrees")},
    "atan2": (math.atan2, 2, 2),
}
"""Each function with the smallest and the largest number of its arguments; angles are in radians."""

_ARITHMETIC: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_COMPARISONS: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}

_NO_NUMBERS: Final = frozenset({"nan", "inf", "infinity", "true", "false", "none", "null"})
"""What is written where a number is meant, and would be taken for a name."""

_TAKES: Final = (
    "a rule takes numbers, actuators, + - * / // % **, comparisons, and, or, not, and the functions "
    f"{', '.join(_FUNCTIONS)}"
)


class NotARule(ValueError):
    """A text that is no rule; says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule across actuators: as it was written, the actuators that it names, in order, and what it means."""

    text: str
    names: tuple[str, ...]
    tree: ast.expr

    def why_not(self, positions: Mapping[str, object]) -> str:
        """Return why the rule forbids the positions, an empty text when it allows them.

        An actuator whose position, in its units, is missing or no finite number forbids.
        """
        if missing := [name for name in self.names if (at := positions.get(name)) is None or at != at]:  # noqa: PLR0124 - NaN
            return f"{self.text} cannot be judged: nobody knows where {' and '.join(missing)} is"
        if other := [name for name in self.names if isinstance(positions[name], bool | str)]:
            return f"{self.text} cannot be judged: {' and '.join(other)} is no number"
        at = ", ".join(f"{name} = {shown(positions[name])}" for name in self.names)
        try:
            holds = _evaluated(self.tree, {name: _finite(float(cast("float", positions[name]))) for name in self.names})
        except (ArithmeticError, ValueError, TypeError, RecursionError, InvalidExpression) as error:
            return f"{self.text} cannot be judged at {at}: {error}"
        return "" if holds is True else f"{self.text} does not hold: {at}"


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Rule:
    """Return the rule that a text says: a comparison, or several with ``and``, ``or``, ``not``.

    An actuator stands by its name, with dots in it too; a name that Python could not read stands in backticks. Raises
    `NotARule` when it cannot be read, holds what a rule does not take, says neither yes nor no, or names no actuator.

    Examples
    --------
    >>> parse("abs(v1 - stage.x) <= 300").names
    ('v1', 'stage.x')
    >>> parse("`2theta` / 2 < 45").why_not({"2theta": 100})
    '`2theta` / 2 < 45 does not hold: 2theta = 100'
    """
    source = text.strip()
    if len(source) > MAX_LENGTH:
        raise NotARule(f"a rule has at most {MAX_LENGTH} characters, and this one has {len(source)}")
    reading = _Reading(source)
    if not reading.says_yes_or_no(reading.tree, _MAX_DEPTH):
        raise NotARule(f"{source} is a number, neither true nor false; compare it with something: {source} <= 300")
    if not reading.names:
        raise NotARule(f"{source} names no actuator, so it says nothing of any point")
    return Rule(source, tuple(reading.names), reading.tree)


def shown(value: object) -> str:
    """Return a number as a person reads it, with all its digits when the short form would hide some."""
    try:
        short = f"{value:.6g}"
        return short if float(short) == value else f"{value:.15g}"
    except (TypeError, ValueError, OverflowError):
        return str(value)[:40]


class _Reading:
    """One text on its way to a rule: what each part of it is, a number or a yes or no."""

    def __init__(self, source: str) -> None:
        self.names: dict[str, None] = {}
        self._aside: dict[str, str] = {}
        self._source = _UNREADABLE.sub(self._put_aside, source).strip()
        try:
            self.tree = ast.parse(self._source, mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            why = getattr(error, "msg", None) or "it holds what no text should, or too much inside each other"
            raise NotARule(f"{source or 'an empty text'} cannot be read as a rule: {why}{_hint(source)}") from None

    def _put_aside(self, match: re.Match[str]) -> str:
        place = _PLACE.format(len(self._aside))
        self._aside[place] = (match[1] or match[2]).strip()
        return f" {place} "

    def says_yes_or_no(self, node: ast.expr, depth: int) -> bool:
        """Return whether a part says yes or no (it is a number otherwise); raise unless it is part of the language."""
        if depth == 0:
            raise NotARule("there is too much inside each other in this rule; make two of it")
        below = depth - 1
        match node:
            case ast.BoolOp(values=parts):
                self._all(parts, below, yes_or_no=True, what="and, or")
                return True
            case ast.UnaryOp(op=ast.Not(), operand=part):
                self._all([part], below, yes_or_no=True, what="not")
                return True
            case ast.Compare(left=left, ops=signs, comparators=rest) if all(type(op) in _COMPARISONS for op in signs):
                self._all([left, *rest], below, yes_or_no=False, what="a comparison")
                return True
            case ast.UnaryOp(op=sign, operand=part) if type(sign) in _ARITHMETIC:
                self._all([part], below, yes_or_no=False, what="arithmetic")
            case ast.BinOp(op=sign, left=left, right=right) if type(sign) in _ARITHMETIC:
                self._all([left, right], below, yes_or_no=False, what="arithmetic")
            case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in _FUNCTIONS:
                self._check_call(name, len(parts))
                self._all(parts, below, yes_or_no=False, what=f"{name}()")
            case ast.Constant(value=value) if type(value) in (int, float):
                node.value = self._number(cast("float", value))
            case ast.Name():
                node.id = self._named(node)
                self.names[node.id] = None
            case _:
                raise NotARule(f"{self._text(node)} is not possible here: {_TAKES}")
        return False

    def _named(self, node: ast.Name) -> str:
        """Return the name that a part is, as it was written: Python would take the micro sign for a mu."""
        if node.id.lower() in _NO_NUMBERS:
            raise NotARule(f"{node.id} is no number that anything could be compared with; a name stands in backticks")
        return self._aside.get(node.id, self._text(node))

    def _all(self, parts: list[ast.expr], depth: int, *, yes_or_no: bool, what: str) -> None:
        for part in parts:
            text = self._text(part)
            if self.says_yes_or_no(part, depth) is not yes_or_no:
                wanted = "a comparison" if yes_or_no else "a number"
                raise NotARule(f"{what} takes {'comparisons' if yes_or_no else 'numbers'}, and {text} is not {wanted}")

    def _check_call(self, name: str, n_given: int) -> None:
        _, least, most = _FUNCTIONS[name]
        if not least <= n_given <= most:
            many = f"{least}" if least == most else f"{least} to {most}"
            raise NotARule(f"{name}() takes {many} number{'s' if most > 1 else ''}, not {n_given}")

    def _number(self, value: float) -> float:
        try:
            return _finite(float(value))
        except (ArithmeticError, ValueError):
            raise NotARule("a number in it is too large") from None

    def _text(self, node: ast.expr) -> str:
        """Return a part as it was written."""
        text = ast.get_source_segment(self._source, node) or "this"
        for place, name in self._aside.items():
            text = text.replace(place, name)
        return text


def _hint(source: str) -> str:
    alone = re.search(r"(?<![<>=!])=(?!=)", source)
    if alone:
        return "; to say that two are equal, write =="
    unit = re.search(r"\d\s*(?!(?:and|or|if)\b)[^\W\d]\w*\s*$", source)
    return "; a number stands without its unit" if unit else ""


def _finite(value: object) -> Any:
    """Return a float or a yes or no as it is; raise for what is neither, as the root of a negative number, or NaN."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):  # floor, ceil
        value = float(value)
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError("it comes to no finite number")
    return value


def _guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: _finite(call(*values))


_EVALUATOR: Final = SimpleEval(
    operators={
        **{sign: _guarded(call) for sign, call in (_ARITHMETIC | _COMPARISONS).items()},
        ast.Not: operator.not_,
    },
    functions={name: _guarded(call) for name, (call, _, _) in _FUNCTIONS.items()},
    names={},
)
_TURN: Final = threading.Lock()
"""One evaluator for all: making one changes the process's filters of warnings for a moment, which no thread may."""


def _evaluated(tree: ast.expr, positions: Mapping[str, float]) -> object:
    with _TURN:
        _EVALUATOR.names = positions
        return cast("object", _EVALUATOR.eval("", previously_parsed=tree))
