"""References to code: ``module:attribute``, which is imported, and ``live:NAME``, a live object of this process.

HTTP cannot carry a live object: it is registered here under a name, and its reference is sent. The registry belongs to
this process, and a reference is valid only here. See `brains.live_objects` for what can be one.
"""

from __future__ import annotations

import importlib
import importlib.util
import operator
import secrets
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

from agent_service.errors import AlreadyExists, UnknownType, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX: Final = "live:"
_AT_MOST_S: Final = 60.0
"""How long an import waits for another thread's, which may never end."""


class Registered(NamedTuple):
    """A live object, and a random text that distinguishes it from all others of its reference, earlier or later."""

    live_object: Callable[..., object]
    registration: str


_importing: Final = threading.RLock()
_lock: Final = threading.Lock()
_objects: Final[dict[str, Registered]] = {}


class Unresolved(Exception):
    """A reference ``module:attribute`` that leads to nothing; its ``__cause__`` is what was raised.

    ``module`` is the module, when it was imported and has no such attribute; None when importing it raised.
    """

    def __init__(self, message: str, module: ModuleType | None = None) -> None:
        super().__init__(message)
        self.module = module


def is_import(reference: str) -> bool:
    """Return whether a reference is written as ``module:attribute``."""
    module, _, attribute = reference.partition(":")
    return bool(module and attribute)


def module(name: str) -> ModuleType:
    """Import a module, after the imports of other threads by this function. From any thread.

    If two threads import libraries that share modules, as optimizers share SciPy's, Python may give one of them an
    incomplete module: ``cannot import name ... from partially initialized module``.
    """
    there = sys.modules.get(name)
    if there is not None and not getattr(getattr(there, "__spec__", None), "_initializing", False):
        return there
    is_mine = _importing.acquire(timeout=_AT_MOST_S)
    try:
        return importlib.import_module(name)
    finally:
        if is_mine:
            _importing.release()


def imported(reference: str) -> object:
    """Import what ``module:attribute`` names. Runs the module's code: call it from a worker thread.

    Raises `Unresolved`, in one line, if the module or the attribute is not there.
    """
    name, _, attribute = reference.partition(":")
    try:
        home = module(name)
    except (Exception, SystemExit) as error:
        raise Unresolved(f"importing {name!r} raised {texts.describe(error)}") from error
    try:
        return operator.attrgetter(attribute)(home)
    except AttributeError as error:
        raise Unresolved(f"the module {name!r} has no {attribute!r}", home) from error


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return a package's ``__getattr__``: each name is loaded from its home at its first use.

    A home is a module of the package; with a dot before it, one of the parent package.
    """

    def attribute(name: str) -> object:
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(importlib.import_module(f".{homes[name]}", package), name)

    return attribute


def put_off(name: str, function: str) -> None:
    """Put off the import of a foreign module until its function is called, or another of its names is used.

    Does nothing if it is not installed, or was imported before.
    """
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None:
        return
    stand_in = ModuleType(name)

    def loaded(attribute: str) -> Callable[..., object]:
        if attribute.startswith("__"):  # who looks through all modules that there are
            msg = f"module {name!r} has no attribute {attribute!r}"
            raise AttributeError(msg)
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    def called(*args: object, **kwargs: object) -> object:
        return loaded(function)(*args, **kwargs)

    stand_in.__dict__.update({function: called, "__getattr__": loaded, "__spec__": spec, "__file__": spec.origin})
    stand_in.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[name] = stand_in


def add(name: str, live_object: Callable[..., object]) -> str:
    """Register an object, and return its reference ``live:NAME``. From any thread.

    Raises `AlreadyExists` when the name is taken.
    """
    with _lock:
        if name in _objects:
            raise AlreadyExists(f"there is a live object {name!r} already; forget it first, or choose another name")
        _objects[name] = Registered(live_object, secrets.token_hex(16))
    return PREFIX + name


def get(reference: str) -> Callable[..., object] | None:
    """Return the callable of a reference, None if it is not in this process. From any thread."""
    there = _objects.get(reference.removeprefix(PREFIX))
    return None if there is None else there.live_object


def live_objects() -> list[Callable[..., object]]:
    """Return all registered objects. From any thread."""
    with _lock:
        return [there.live_object for there in _objects.values()]


def forget(reference: str) -> None:
    """Remove an object from the registry, if it is there. From any thread."""
    with _lock:
        _objects.pop(reference.removeprefix(PREFIX), None)


def take_over(reference: str, earlier: str) -> None:
    """Let an object have an earlier reference from now on, instead of its own. From any thread.

    So a reference in a journal leads to an object again after the process that wrote it has ended.
    """
    with _lock:
        _objects[earlier.removeprefix(PREFIX)] = _objects.pop(reference.removeprefix(PREFIX))


def is_live(reference: str | None) -> bool:
    """Return whether a reference names a live object, wherever it lives."""
    return reference is not None and reference.startswith(PREFIX)


def find(reference: str) -> Callable[..., object]:
    """Return the callable of a reference; raise `UnknownType` if it is not in this process."""
    return registered(reference).live_object


def registered(reference: str) -> Registered:
    """Return the callable as `find` does, with its distinguishing text."""
    if (there := _objects.get(reference.removeprefix(PREFIX))) is None:
        raise UnknownType(
            f"the live object {reference!r} is not in this process: it was valid only in the one that served it; "
            "serve the object again"
        )
    return there
