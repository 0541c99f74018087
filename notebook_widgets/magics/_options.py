"""The words of a magic's line: its options, and how a line is split into them.

A line is split at spaces outside quotes and brackets, so that ``Walk(step=2, start=[0, 0])`` is one word. What comes
after a ``#`` is a comment.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from agent_service.errors import ServiceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_CLOSES: Final = {"(": ")", "[": "]", "{": "}"}
_QUOTES: Final = frozenset("\"'")


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a magic."""

    name: str  # as it is written, without the dashes
    # words: one or several, with spaces or commas between; python: an expression on the notebook's namespace
    takes: Literal["nothing", "text", "number", "words", "python"]
    belongs: Literal["agent", "service", "cell"]
    value: str = ""  # what stands for it in messages


SERVE: Final = (
    Option("name", "text", "agent", "NAME"),
    Option("config", "python", "agent", "MAPPING"),
    Option("actuators", "words", "agent", "DEVICE,DEVICE"),
    Option("sensors", "words", "agent", "DEVICE,DEVICE"),
    Option("outcome", "words", "agent", "FIELD"),
    Option("bounds", "words", "agent", "DEVICE=LOW:HIGH"),
    Option("evaluate", "python", "agent", "FUNCTION"),
    Option("run", "python", "agent", "first|last|MAPPING"),
    Option("plan", "python", "agent", "PLAN"),
    Option("max-runs", "number", "agent", "N"),
    Option("approval", "text", "agent", "auto|required|first N"),
    Option("executor", "text", "agent", "auto|thread|process|dask"),
    Option("startup", "text", "service", "MODULE"),
    Option("port", "number", "service", "N"),
    Option("catalog", "text", "service", "embedded|none|URI|profile:NAME"),
    Option("state", "text", "service", "FOLDER"),
    Option("no-panel", "nothing", "cell"),
    Option("fresh", "nothing", "cell"),
)

OF_MAGIC: Final[dict[str, tuple[Option, ...]]] = {
    "agent_serve": SERVE,
    "agent_status": (),
    "agent_panel": (Option("url", "text", "cell", "URL"), Option("key-from", "text", "cell", "FILE")),
    "agent_stop": (Option("all", "nothing", "cell"),),
    "agent_export": (
        Option("with-state", "nothing", "cell"),
        Option("notebook", "text", "cell", "FILE"),
        Option("catalog", "text", "service", "embedded|none|URI|profile:NAME"),
    ),
}
"""The options of each magic, by the magic's name."""


_SETS: Final = {
    "bounds": ("guardrails.bounds",),
    "approval": ("loop.approval",),
    "max-runs": ("loop.max_runs",),
    "port": ("service.port",),
    "catalog": ("service.catalog",),
    "state": ("service.state",),
    "startup": ("startup in [run_engine]", "run_engine.startup", "[run_engine] startup"),
}
"""The service's name for what an option sets, where it differs."""


@dataclass(slots=True)
class Line:
    """A magic's line, split into target and options."""

    target: str = ""  # the word that is no option; empty when there is none
    # the options: no word for a flag, one for most, any number for ``words``
    given: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def __contains__(self, name: str) -> bool:
        return name in self.given


def read(magic: str, line: str) -> Line:
    """Split a line, which follows a magic, into target and options.

    Raises `UsageError` if an option is unknown, given twice, or lacks its value; if there is a word too many; if a
    bracket is not closed.
    """
    options = {option.name: option for option in OF_MAGIC[magic]}
    parsed, waiting = Line(), split(line)
    last: Option | None = None
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("-"):
            if parsed.target and last is not None and last.value == "MAPPING":
                raise UsageError(
                    f"--{last.name} takes one mapping, in braces, and {word!r} stands beside it: "
                    f'--{last.name} {{"bounds": {{"mirror_x": [-5, 5]}}}}'
                )
            if parsed.target:
                raise UsageError(
                    f"{word!r} is a word too many after {parsed.target!r}; %{magic}? shows how to write it"
                )
            parsed.target = word
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        option = options.get(name)
        if option is None or not word.startswith("--"):
            raise UsageError(f"there is no option {word.partition('=')[0]}; {_near(magic, word, options)}")
        if name in parsed.given:
            raise UsageError(f"--{name} is given twice; leave one out")
        parsed.given[name] = _values(option, value if equals else None, waiting)
        last = option
    return parsed


def split(line: str, *, closed: bool = True) -> list[str]:
    """Split a line at spaces outside quotes and brackets, up to a comment.

    Raises `UsageError` if a quote or bracket is not closed; not with ``closed=False``, for a line that somebody still
    types.
    """
    words, open_brackets, quote = [""], "", ""
    for at, character in enumerate(line):
        if quote:
            quote = "" if character == quote and line[at - 1] != "\\" else quote
        elif character in _QUOTES:
            quote = character
        elif character in _CLOSES:
            open_brackets += character
        elif open_brackets and character == _CLOSES[open_brackets[-1]]:
            open_brackets = open_brackets[:-1]
        elif not open_brackets and character.isspace():
            words.append("")
            continue
        elif not open_brackets and character == "#" and not words[-1]:
            break
        words[-1] += character
    if closed and (quote or open_brackets):
        raise UsageError(f"{quote or open_brackets[-1]} is not closed in {words[-1]}")
    return [part for part in words if part]


def commas(words: Sequence[str]) -> list[str]:
    """Split words at commas outside quotes and brackets."""
    parts = [""]
    depth, quote = 0, ""
    for character in ",".join(words):
        if quote or character in _QUOTES:
            quote = "" if character == quote else quote or character
        depth += (character in _CLOSES) - (character in _CLOSES.values())
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [plain(part) for part in parts if part]


def plain(word: str) -> str:
    """Return a word without the quotes around it, if it has any."""
    if len(word) > 1 and word[0] in _QUOTES and word[-1] == word[0]:
        try:
            return str(ast.literal_eval(word))
        except (SyntaxError, ValueError):
            return word
    return word


def _values(option: Option, value: str | None, waiting: list[str]) -> list[str]:
    if option.takes == "nothing":
        if value is not None:
            raise UsageError(f"--{option.name} takes no value; leave {value!r} out")
        return []
    values = [] if value is None else [value]
    while waiting and not waiting[0].startswith("--") and (not values or (option.takes == "words" and value is None)):
        values.append(waiting.pop(0))
    if not values or not values[0]:
        raise UsageError(f"--{option.name} needs a value: --{option.name} {option.value}")
    return values


@contextlib.contextmanager
def in_typed_words(line: Line) -> Generator[None]:
    """Let an error of the service name the line's options instead of the fields that they set."""
    try:
        yield
    except ServiceError as error:
        message = error.detail
        for option, fields in _SETS.items():
            for field_name in fields if option in line else ():
                message = message.replace(field_name, f"--{option}")
        raise UsageError(message) from None


def _near(magic: str, word: str, options: dict[str, Option]) -> str:
    near = difflib.get_close_matches(word.partition("=")[0].lstrip("-"), options, n=1)
    if near:
        return f"did you mean --{near[0]}?"
    there = ", ".join(f"--{name}" for name in options)
    return f"%{magic} has {there}" if there else f"%{magic} has none"
