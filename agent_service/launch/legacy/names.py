"""The modules of bluesky-adaptive 0.x that a start-up script imports, without that library.

Only names that 1.x does not have are put in the place of what is installed; where 0.x or 1.x is, everything else comes
from there.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from types import ModuleType

LIBRARY: Final = "bluesky_adaptive"

OURS: Final = (f"{LIBRARY}.server", f"{LIBRARY}.server.utils", f"{LIBRARY}.agents.base")
"""What is always ours: the server that the script speaks to, and what its agents are made of."""

_HERE: Final = "agent_service.launch.legacy"

STAND_INS: Final[Mapping[str, str]] = {
    LIBRARY: "",
    f"{LIBRARY}.agents": "",
    f"{LIBRARY}.agents.simple": f"{_HERE}.simple",
    f"{LIBRARY}.typing": f"{_HERE}.types",
}
"""What is ours where nothing of that name is installed: each with the module of ours that has its names."""


class _Finder(MetaPathFinder):
    """Finds the modules of ``homes``: each is made of what a module of ours, or the running script, gives."""

    def __init__(self, homes: Mapping[str, Mapping[str, Any] | str], *, where_missing: bool) -> None:
        self._homes = homes
        self._where_missing = where_missing

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a module of ours, None when it is none, or something of the name is installed and goes before."""
        if fullname not in self._homes or (self._where_missing and PathFinder.find_spec(fullname, path) is not None):
            return None
        return ModuleSpec(fullname, _Loader(self._homes[fullname]), origin="agent-service --legacy", is_package=True)


class _Loader(Loader):
    def __init__(self, home: Mapping[str, Any] | str) -> None:
        self._home = home

    def exec_module(self, module: ModuleType) -> None:
        names = self._home
        if isinstance(names, str):
            names = vars(importlib.import_module(names)) if names else {}
        vars(module).update({name: value for name, value in names.items() if not name.startswith("_")})


@contextlib.contextmanager
def names_of(server: Mapping[str, Any]) -> Generator[None]:
    """Let those modules be imported; ``server`` are the names of ``bluesky_adaptive.server``, bound to a script."""
    ours: dict[str, Mapping[str, Any] | str] = {**dict.fromkeys(OURS[:2], server), OURS[2]: f"{_HERE}.agents"}
    finders = [_Finder(ours, where_missing=False), _Finder(STAND_INS, where_missing=True)]
    sys.meta_path.insert(0, finders[0])
    sys.meta_path.append(finders[1])
    try:
        yield
    finally:
        for finder in finders:
            sys.meta_path.remove(finder)
        for name in [*ours, *STAND_INS]:
            module = sys.modules.get(name)
            if module is not None and isinstance(getattr(module.__spec__, "loader", None), _Loader):
                del sys.modules[name]
