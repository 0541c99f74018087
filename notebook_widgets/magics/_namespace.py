"""What the words of a line mean in the notebook's namespace."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.errors import UsageError
from notebook_widgets.magics._options import plain
from notebook_widgets.magics._waiting import waited

if TYPE_CHECKING:
    from collections.abc import Iterable

REFERENCE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
"""How ``module:callable`` looks."""

EXAMPLE: Final = {
    "config": '--config {"bounds": {"mirror_x": [-5, 5]}}',
    "bounds": '--bounds {"mirror_x": [-5, 5]}',
    "run": '--run {"purpose": "light"}',
}
"""How options that take a mapping are written."""

_IPYTHON: Final = frozenset({"In", "Out", "exit", "get_ipython", "open", "quit"})
"""Names that IPython puts into the namespace, which are never meant."""

_SOURCE: Final = "<the magic's line>"


class Names:
    """The notebook's namespace, live, as magics read it. In the main thread."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names

    def value(self, word: str, *, also: Iterable[str] = (), beside: Mapping[str, Any] | None = None) -> Any:
        """Return the value of an expression; await an awaitable.

        ``beside`` are more names. Raises `UsageError`, which says what and where, if a name is not defined (``also``
        names alternatives), if it is no expression, or if it raises.
        """
        try:
            code = compile(word, _SOURCE, "eval")
        except (SyntaxError, ValueError) as error:
            raise UsageError(f"{word} is no Python expression: {getattr(error, 'msg', error)}") from None
        try:
            value = eval(code, self.names, {**(beside or {})})  # noqa: S307 - the user's own expression, in the user's own kernel
            return waited(value) if inspect.isawaitable(value) else value
        except NameError as error:
            if error.name and not _inner(error):
                raise UsageError(self.undefined(error.name, also)) from None
            raise UsageError(_raised(word, error)) from None
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's own code raises becomes one line
            raise UsageError(_raised(word, error)) from None

    def undefined(self, name: str, also: Iterable[str] = ()) -> str:
        """Return the message for a name that is not defined."""
        from agent_service.models.spelling import near  # noqa: PLC0415 - for messages

        own = [own_name for own_name in self.names if not own_name.startswith("_") and own_name not in _IPYTHON]
        hint = near(name, dict.fromkeys([*also, *own])).rstrip() or "run the cell that defines it first"
        return f"the name {name!r} is not defined; {hint}"

    def text(self, word: str) -> str:
        """Return a text without quotes, with ``{expression}`` and ``$name`` replaced; else `UsageError`."""
        if "{" not in word and "$" not in word:
            return plain(word)
        from IPython.utils.text import DollarFormatter  # noqa: PLC0415 - for the rare line that has one

        try:
            return plain(str(cast("Any", DollarFormatter()).vformat(word, (), dict(self.names))))
        except Exception as error:  # noqa: BLE001 - whatever the user's own code raises becomes one line
            raise UsageError(_raised(word, error)) from None

    def devices(self, option: str, words: list[str]) -> list[Any]:
        """Return devices, or the names of devices that the service knows.

        The words of ``option`` are names of devices, variables that hold one or a list of them, or expressions.
        """
        devices: list[Any] = []
        for word in words:
            held: Any = self._held(word)
            several: list[Any] = [*cast("Any", held)] if isinstance(held, list | tuple) else [held]
            fits = [isinstance(item, str) or is_device(item) for item in several]
            if all(fits) and not isinstance(held, str):
                devices += several
            elif word.isidentifier() or held is None:
                devices.append(self.text(word))
            else:
                raise UsageError(
                    f"--{option}: {word} is of type {type(cast('object', held)).__name__}, not a device or its name"
                )
        return devices

    def function(self, option: str, word: str) -> Any:
        """Return a function, or the text ``module:function``; `UsageError` if it is neither."""
        if REFERENCE.fullmatch(plain(word)):
            return plain(word)
        function = self.value(word)
        if not callable(function):
            raise UsageError(f"--{option}: {word} is of type {type(function).__name__}, not a function")
        return function

    def plan(self, word: str) -> Any:
        """Return a plan: a function of the namespace, or the name of one that the service knows."""
        if callable(self.names.get(word)):
            return self.names[word]
        return word if "(" not in word else self.value(word)

    def mapping(self, option: str, word: str) -> Any:
        """Return a mapping, or a pydantic model; `UsageError` if it is neither."""
        value = self._mapped(option, word)
        if not isinstance(value, Mapping) and not hasattr(value, "model_dump"):
            raise UsageError(f"--{option}: {word} is of type {type(value).__name__}, not a mapping: {EXAMPLE[option]}")
        return cast("object", value)

    def _mapped(self, option: str, word: str) -> Any:
        """Return the value of a mapping's expression, in Python or JSON, with or without quotes around it."""
        json_words = {"true": True, "false": False, "null": None}
        missing = {name: value for name, value in json_words.items() if name not in self.names}
        inside = plain(word)
        try:
            compile(inside, _SOURCE, "eval")
        except (SyntaxError, ValueError):
            raise UsageError(f"--{option} takes a mapping in braces, and {inside} is none: {EXAMPLE[option]}") from None
        return self.value(inside, beside=missing)

    def run_engine(self) -> Any:
        """Return the user's own RunEngine, if there is one named ``RE``."""
        engine = self.names.get("RE")
        module: Any = sys.modules.get("bluesky.run_engine")  # nobody has one who has not imported it
        return engine if module is not None and isinstance(engine, module.RunEngine) else None

    def _held(self, word: str) -> Any:
        """Return the value of a variable or an expression; None if it is only a device's name."""
        if word.isidentifier():
            return self.names.get(word)
        root = re.match(r"[\[(]|\w+(?=[.\[(])", word)
        if root is None or (root[0] not in "[(" and root[0] not in self.names):
            return None
        return self.value(word)


def name_of(word: str) -> str:
    """Return a name for the agent that an expression makes, if the expression contains one.

    Examples
    --------
    >>> name_of("lab.scanner"), name_of("Walk(step=2)"), name_of("agents['aligner']"), name_of("my_agents:Climber")
    ('scanner', 'Walk', 'aligner', 'Climber')
    """
    if REFERENCE.fullmatch(word):
        return word.partition(":")[2].rpartition(".")[2]
    tree: Any = ast.parse(word, mode="eval").body
    while True:
        match tree:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
                return re.sub(r"[^\w.-]+", "-", name).strip("_-.")[:64] or "agent"
            case ast.Call(func=inner) | ast.Await(value=inner) | ast.Subscript(slice=ast.Constant(str()) as inner):
                tree = inner
            case ast.Subscript(value=inner):
                tree = inner
            case _:
                return "agent"


def is_device(value: object) -> bool:
    """Return whether an object looks like a device: its class can be read or set, and it has a name."""
    return (
        not isinstance(value, type)
        and (hasattr(type(value), "read") or hasattr(type(value), "set"))
        and isinstance(getattr(value, "name", None), str)
    )


def _inner(error: BaseException) -> bool:
    """Return whether an error was raised below the line itself."""
    return traceback.extract_tb(error.__traceback__)[-1].filename != _SOURCE


def _raised(word: str, error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in (__file__, _SOURCE)]
    where = f" ({_place(frames[-1])})" if frames else ""
    message = " ".join(str(error).split())
    return f"{word} raised {type(error).__name__}: {message}{where}"


def _place(frame: traceback.FrameSummary) -> str:
    """Return where a frame is: a file, or a cell of the notebook, whose file name nobody knows."""
    cell = re.search(r"<ipython-input-(\d+)-|ipykernel_\d+", frame.filename)
    if cell is None:
        return f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"{f'cell {cell[1]}' if cell[1] else 'a cell'}, line {frame.lineno} in {frame.name}"
