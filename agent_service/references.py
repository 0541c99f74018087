"""References to code: ``module:attribute``, which is imported, and ``live:NAME``, a live object of this process.

A live object cannot travel by HTTP: it waits here under a random name, and its reference travels. The registry belongs
to this process, and a reference is valid here only. A live object is one of

- a class or factory: called with ``**config``, as often as needed;
- a brain that exists already: used as it is the first time. When it must be built again, its birth pickle (cloudpickle,
  taken when it was registered) is loaded instead: a brain that has seen data is never replayed into. Registered once
  more, it goes on with what it knows (`knows`), or begins again from its first birth pickle (`begin_again`);
- a function (``evaluate``, ``plan``) of the user's own.
"""

from __future__ import annotations

import importlib
import inspect
import operator
import secrets
import threading
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.errors import AlreadyExists, Conflict, InvalidInput, UnknownType, texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

PREFIX: Final = "live:"


_lock: Final = threading.Lock()
_things: Final[dict[str, Callable[..., object]]] = {}


class LiveBrain:
    """A brain that exists already, as a factory without arguments. May be called from any thread.

    Parameters
    ----------
    name
        Its name in the registry.
    brain
        The object; pickled here and now.
    """

    def __init__(self, name: str, brain: object) -> None:
        self.__doc__ = inspect.getdoc(type(brain))
        self.__name__ = type(brain).__name__
        self._name = name
        self._brain = brain
        self._used = False
        self._born_again = False
        self._earlier: tuple[bytes | None, str] | None = None
        self._birth: bytes | None = None
        self._why_not = ""
        try:
            import cloudpickle  # noqa: PLC0415 - only those who have live objects need it

            self._birth = cloudpickle.dumps(brain)  # pyright: ignore[reportUnknownMemberType]
        except Exception as error:  # noqa: BLE001 - whatever the object's own __reduce__ raises
            self._why_not = texts.describe(error)

    def __call__(self) -> object:
        """Return the object the first time, and then one like it was when it was registered.

        Raises
        ------
        Conflict
            When it does not pickle.
        """
        with _lock:
            first, self._used = not self._used, True
        if first:
            return self._brain
        self.require()
        self._born_again = True
        import pickle  # noqa: PLC0415 - only for live objects

        return pickle.loads(cast("bytes", self._birth))  # noqa: S301 - pickled in this process, never stored

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the object was when it was registered."""
        if self._birth is None:
            raise TypeError(self._why_not)
        return _reborn, (self._name, self.__name__, self.__doc__, self._birth)

    def is_of(self, thing: object) -> bool:
        """Return whether this is that very object, and it was used."""
        return self._used and self._brain is thing

    @property
    def knows_all(self) -> bool:
        """Whether the object itself was told all that its agent was told: no other one took its place."""
        return self._used and not self._born_again

    @property
    def first_birth(self) -> tuple[bytes | None, str]:
        """Its pickle of when it was first registered, or why there is none."""
        return self._earlier or (self._birth, self._why_not)

    def follow(self, earlier: LiveBrain) -> None:
        """Note that the object was registered before, and has seen data since."""
        self._earlier = earlier.first_birth

    def begin_again(self) -> None:
        """Let the object be as it was when it was first registered, if it has seen data since."""
        if self._earlier is not None:
            (self._birth, self._why_not), self._used = self._earlier, True

    def require(self) -> None:
        """Raise `Conflict` when the object was used and there is no pickle to begin again from."""
        if self._used and self._birth is None:
            raise Conflict(
                f"the live {self.__name__} {self._name!r} cannot begin again: it has seen data, and it does not pickle "
                f"({self._why_not}); serve a new object, or its class"
            )


class Unresolved(Exception):
    """A reference ``module:attribute`` that leads to nothing; its ``__cause__`` is what was raised.

    Attributes
    ----------
    module
        The module, when it was imported and has no such attribute; None when importing it raised.
    """

    def __init__(self, message: str, module: ModuleType | None = None) -> None:
        super().__init__(message)
        self.module = module


def is_import(reference: str) -> bool:
    """Return whether a reference is written as ``module:attribute``."""
    module, _, attribute = reference.partition(":")
    return bool(module and attribute)


def imported(reference: str) -> object:
    """Import what ``module:attribute`` names. Runs the module's code: call it from a worker thread.

    Raises
    ------
    Unresolved
        The module or the attribute cannot be had: says which, in one line.
    """
    name, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise Unresolved(f"importing {name!r} raised {texts.describe(error)}") from error
    try:
        return operator.attrgetter(attribute)(module)
    except AttributeError as error:
        raise Unresolved(f"the module {name!r} has no {attribute!r}", module) from error


def _reborn(name: str, kind: str, doc: str | None, birth: bytes) -> LiveBrain:
    brain = LiveBrain(name, None)
    brain.__name__, brain.__doc__ = kind, doc
    brain._birth, brain._used = birth, True  # noqa: SLF001 - a copy of it, in another process  # pyright: ignore[reportPrivateUsage]
    return brain


def register(thing: object, *, name: str | None = None) -> str:
    """Put an object into the registry, and return its reference ``live:NAME``. From any thread.

    Parameters
    ----------
    thing
        A brain, its class, a factory of brains, or a function.
    name
        Instead of a random name.

    Raises
    ------
    InvalidInput
        When it is none of these: says what it lacks.
    AlreadyExists
        When the name is taken.
    """
    chosen = name or secrets.token_hex(8)
    found = _factory(chosen, thing)
    with _lock:
        if chosen in _things:
            raise AlreadyExists(f"there is a live object {chosen!r} already; forget it first, or choose another name")
        if isinstance(found, LiveBrain):
            for one in _things.values():
                if isinstance(one, LiveBrain) and one.is_of(thing):
                    found.follow(one)
        _things[chosen] = found
    return PREFIX + chosen


def knows(reference: str, thing: object) -> bool:
    """Return whether the brain behind a reference is that very object, and was told all that its agent was told."""
    found = _things.get(reference.removeprefix(PREFIX))
    return isinstance(found, LiveBrain) and found.is_of(thing) and found.knows_all


def begin_again(reference: str) -> None:
    """Let a brain that has seen data begin as it was when it was first registered. From any thread."""
    found = _things.get(reference.removeprefix(PREFIX))
    if isinstance(found, LiveBrain):
        found.begin_again()


def forget(reference: str) -> None:
    """Take an object out of the registry; does nothing when it is not there. From any thread."""
    with _lock:
        _things.pop(reference.removeprefix(PREFIX), None)


def take_over(reference: str, earlier: str) -> None:
    """Let an object stand for an earlier reference from now on, instead of its own. From any thread.

    What a journal calls by that reference is found again after the process that wrote it has ended.
    """
    with _lock:
        _things[earlier.removeprefix(PREFIX)] = _things.pop(reference.removeprefix(PREFIX))


def is_live(reference: str | None) -> bool:
    """Return whether a reference names a live object, wherever it lives."""
    return reference is not None and reference.startswith(PREFIX)


def find(reference: str) -> Callable[..., object]:
    """Return the callable that a reference stands for. From any thread.

    Raises
    ------
    UnknownType
        When it is not in this process.
    """
    found = _things.get(reference.removeprefix(PREFIX))
    if found is None:
        raise UnknownType(
            f"the live object {reference!r} is not in this process: it was valid only in the one that served it; "
            "serve the object again"
        )
    return found


def require(*references: str | None) -> None:
    """Raise unless each reference that names a live object can be built now; others are passed over.

    Raises
    ------
    UnknownType
        When one is not in this process.
    Conflict
        When one was used and cannot begin again.
    """
    for reference in references:
        if reference is not None and is_live(reference):
            found = find(reference)
            if isinstance(found, LiveBrain):
                found.require()


def _factory(name: str, thing: object) -> Callable[..., object]:
    kind = type(thing).__name__
    if isinstance(thing, type):
        _refuse_missing(f"the class {thing.__name__}", thing)
        return cast("Callable[..., object]", thing)
    if callable(getattr(thing, "ingest", None)):
        return LiveBrain(name, thing)
    if inspect.isroutine(thing) or (callable(thing) and not hasattr(thing, "suggest")):
        return cast("Callable[..., Any]", thing)
    _refuse_missing(f"an object of type {kind}", thing)
    raise InvalidInput(f"an object of type {kind} cannot be served; give a brain, its class, or a function")


def _refuse_missing(what: str, thing: object) -> None:
    wanted = ("suggest", "ingest")
    if missing := [name for name in wanted if not callable(getattr(thing, name, None))]:
        if missing == ["suggest"]:  # it may listen to everybody's runs
            return
        raise InvalidInput(
            f"{what} has no {' and no '.join(missing)}; a brain has suggest(num_points) and ingest(points)"
        )
