"""Completion of the magics' lines: options and their values, agents, names of the notebook, files."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.errors import ServiceError
from notebook_widgets.magics._namespace import is_device
from notebook_widgets.magics._options import OF_MAGIC, split
from notebook_widgets.magics._target import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from notebook_widgets.magics._options import Option
    from notebook_widgets.magics._session import Session

_LINE: Final = re.compile(r"\s*%?(agent_\w+)\s+(.*)")


class Completion:
    """Completes the magics' lines: a matcher of IPython's completer. In the main thread."""

    def __init__(self, shell: Any, session: Session) -> None:
        self._matchers: list[Any] = shell.Completer.custom_matchers
        self._session = session
        self._matcher: Any = None

    def add(self) -> None:
        """Add the matcher to the completer."""
        from IPython.core import completer  # noqa: PLC0415 - a shell without completion has none

        def match(context: Any) -> dict[str, Any]:
            return self._matches(context.text_until_cursor)

        self._matcher = cast("Any", completer).context_matcher(identifier="agent_service.magics")(match)
        self._matchers.append(self._matcher)

    def remove(self) -> None:
        """Remove the matcher."""
        if self._matcher in self._matchers:
            self._matchers.remove(self._matcher)

    def _matches(self, text: str) -> dict[str, Any]:
        from IPython.core.completer import SimpleCompletion  # noqa: PLC0415 - as above

        matched = _LINE.fullmatch(text)
        if matched is None or matched[1] not in OF_MAGIC:
            return {"completions": [], "suppress": False}
        fragment, words = self.offered(matched[1], matched[2])
        return {
            "completions": [SimpleCompletion(text=word, type="magic") for word in words],
            "matched_fragment": fragment,
            "suppress": bool(words),
        }

    def offered(self, magic: str, line: str) -> tuple[str, list[str]]:
        """Return the last, unfinished word of a line, and all words that begin with it.

        The line is what follows the magic, up to the cursor.
        """
        words = split(line, closed=False)
        fragment = words.pop() if words and line[-1:] == words[-1][-1:] else ""
        options = {option.name: option for option in OF_MAGIC[magic]}
        given = {word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")}
        left = [f"--{name}" for name in options if name not in given]
        if fragment.startswith("-") and "=" not in fragment:
            return _beginning(fragment, left)
        if fragment.startswith("--"):
            name, _, fragment = fragment.removeprefix("--").partition("=")
            return _beginning(fragment, self._values(options.get(name)))
        option, closed = self._waiting(words, options)
        if option is not None:
            # a list with commas: what is completed is its last part
            fragment = fragment.rpartition(",")[2] if option.takes == "words" else fragment
            more = left if closed and not fragment else []
            return _beginning(fragment, [*self._values(option), *more])
        has_target = any(not word.startswith("-") for word in words[:1])
        targets = [] if has_target else self._targets(magic, fragment)
        return _beginning(fragment, [*targets, *([] if fragment else left)])

    def _waiting(self, words: list[str], options: dict[str, Option]) -> tuple[Option | None, bool]:
        """Return the option whose value comes next, and whether it has one already."""
        for back, word in enumerate(reversed(words)):
            if not word.startswith("--"):
                continue
            option = options.get(word.removeprefix("--"))
            if option is None or option.takes == "nothing" or (back and option.takes != "words"):
                return None, False
            return option, back > 0
        return None, False

    def _values(self, option: Option | None) -> list[str]:
        """Return the known values of an option."""
        match option and option.name:
            case "config" | "run":
                orders = ["first", "last"] if option and option.name == "run" else []
                return [*orders, *self._names(lambda value: isinstance(value, Mapping))]
            case "evaluate" | "plan":
                return self._names(inspect.isfunction)
            case "actuators" | "sensors" | "bounds" as name:
                ending = "=" if name == "bounds" else ""
                return [f"{device}{ending}" for device in self._names(is_device)]
            case "executor" | "catalog" | "approval" as name:
                known = {"executor": ["auto", "thread", "process", "dask"], "catalog": ["embedded", "none"]}
                return known.get(name, ["auto", "required", '"first 3"'])
            case "notebook":
                return _files("", ".ipynb")
            case _:
                return []

    def _targets(self, magic: str, fragment: str) -> list[str]:
        if magic == "agent_export":
            return _files(fragment, None)
        if magic != "agent_serve":
            return self._agents()
        return [*self._names(_is_brain), *installed(), *_files(fragment, ".toml")]

    def _agents(self) -> list[str]:
        service = self._session.service
        try:
            return [] if service is None else [agent.name for agent in service.client.agents()]
        except ServiceError:
            return []

    def _names(self, fits: Callable[[Any], bool]) -> list[str]:
        return [name for name, value in self._session.names.names.items() if not name.startswith("_") and fits(value)]


def _is_brain(value: Any) -> bool:
    # asked of the class: a namespace may hold proxies and lazy modules that answer to any attribute
    kind = value if isinstance(value, type) else type(value)
    return callable(getattr(kind, "ingest", None))


def _files(fragment: str, suffix: str | None) -> list[str]:
    """Return the files with a suffix, if one is asked for, and the folders that begin with a fragment."""
    folder, slash, start = fragment.rpartition("/")
    try:
        there = sorted(Path(f"{folder}{slash}" or ".").expanduser().iterdir())
    except OSError:
        return []
    return [
        f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"
        for path in there
        if (path.suffix == suffix or (path.is_dir() and (fragment or suffix is None))) and path.name.startswith(start)
        if start or not path.name.startswith(".")
    ]


def _beginning(fragment: str, words: Iterable[str]) -> tuple[str, list[str]]:
    return fragment, [word for word in dict.fromkeys(words) if word.startswith(fragment)]
