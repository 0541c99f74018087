"""Which libraries of others an agent's type imports, found by looking at names and source, without importing any.

A process that starts agents' processes imports these once, so that the second agent of a type does not wait for them.
"""

from __future__ import annotations

import ast
import importlib.util
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_service import references
from agent_service.brains import types

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_THERE_ALREADY: Final = frozenset({"agent_service", "bayes_opt", "numpy", "pydantic", "scipy", "sklearn"})
"""What each process that starts others has, or is imported quickly."""

_NEVER: Final = frozenset({"bluesky", "caproto", "epics", "ophyd", "ophyd_async", "p4p", "tango"})
"""What talks to devices: a process that has it must not be forked."""

_HOMES: Final = frozenset({"site-packages", "dist-packages"})


def libraries_of(type_name: str) -> tuple[str, ...]:
    """Return modules that a type of agents needs, of packages that are installed and so do not change; sorted.

    Code of the user's own is not among them, for it is imported anew by each agent, but what it imports. Reads files.
    """
    if references.is_live(type_name):
        return ()
    if ":" not in type_name:
        point = next((point for point in entry_points(group=types.GROUP) if point.name == type_name), None)
        if point is None:
            return ()
        if point.module.partition(".")[0] == "agent_service":  # it imports nothing heavy, and knows what it needs
            made = point.load()
            return _chosen(getattr(made, "preload", None) or [getattr(made, "package", "agent_service")])
        type_name = point.value
    module = type_name.partition(":")[0]
    return _chosen([module] if _is_installed(module) else _imported_by(module))


def _chosen(modules: Sequence[str]) -> tuple[str, ...]:
    others = [name for name in modules if name.partition(".")[0] not in _THERE_ALREADY | _NEVER]
    return tuple(sorted({name for name in others if _is_installed(name)}))


def _is_installed(module: str) -> bool:
    """Return whether a module is of a package that was installed as it is, not of a folder that somebody edits."""
    origin = _origin(module.partition(".")[0])
    return origin is not None and not _HOMES.isdisjoint(origin.parts)


def _origin(top: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return None if spec.origin is None else Path(spec.origin)


def _imported_by(module: str) -> list[str]:
    """Return the modules that the source of a module names in its imports; none when it cannot be read."""
    top, _, rest = module.partition(".")
    home = _origin(top)
    if home is None:
        return []
    within = home.joinpath(*rest.split(".")) if rest else home
    for path in (within, within.with_suffix(".py"), within / "__init__.py"):
        if path.is_file():
            try:
                return list(_named(ast.parse(path.read_bytes())))
            except (OSError, SyntaxError, ValueError):
                return []
    return []


def _named(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
