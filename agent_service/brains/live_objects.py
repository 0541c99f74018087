"""Live objects: what people serve of a notebook or script, registered under a reference ``live:NAME``.

A live object is one of

- a class or factory: called with ``**config``, as often as needed;
- a brain that exists already: used as it is the first time. When it must be built again, its birth pickle (cloudpickle,
  taken when it was registered) is loaded instead: a brain that has seen data is never replayed into. Registered once
  more, it goes on with what it knows (`knows`), or begins again from its first birth pickle (`begin_again`);
- a function (``evaluate``, ``plan``) of the user's own.
"""

from __future__ import annotations

import inspect
import secrets
import threading
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service import references
from agent_service.brains.adapter import missing_methods
from agent_service.errors import Conflict, InvalidInput, texts

if TYPE_CHECKING:
    from collections.abc import Callable

_lock: Final = threading.Lock()


class LiveBrain:
    """A brain that exists already, as a factory without arguments. Pickled when it is made; called from any thread."""

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
        """Return the object the first time, and then one like it was when it was registered, or raise as `require`."""
        with _lock:
            first, self._used = not self._used, True
        if first:
            return self._brain
        self.require()
        self._born_again = True
        import pickle  # noqa: PLC0415 - only for live objects

        return pickle.loads(cast("bytes", self._birth))  # noqa: S301 - pickled in this process, never stored

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the object as it was when it was registered."""
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


def register(thing: object, *, name: str | None = None) -> str:
    """Put an object into the registry, and return its reference ``live:NAME``. From any thread.

    The name is that of the class, and a random number, unless it is given. Raises `InvalidInput` when the object is
    neither a brain, its class, a factory of brains nor a function; `AlreadyExists` when the name is taken.
    """
    chosen = name or f"{getattr(thing, '__name__', type(thing).__name__)}-{secrets.token_hex(4)}"
    factory = _factory(chosen, thing)
    if isinstance(factory, LiveBrain):
        for other in references.live_objects():
            if isinstance(other, LiveBrain) and other.is_of(thing):
                factory.follow(other)
    return references.add(chosen, factory)


def knows(reference: str, thing: object) -> bool:
    """Return whether the brain behind a reference is that very object, and was told all that its agent was told."""
    live = references.get(reference)
    return isinstance(live, LiveBrain) and live.is_of(thing) and live.knows_all


def begin_again(reference: str) -> None:
    """Let a brain that has seen data begin as it was when it was first registered. From any thread."""
    live = references.get(reference)
    if isinstance(live, LiveBrain):
        live.begin_again()


def require(*named: str | None) -> None:
    """Raise unless each reference that names a live object can be built now; others are passed over.

    `UnknownType` when one is not in this process, `Conflict` when one was used and cannot begin again.
    """
    for reference in named:
        if reference is not None and references.is_live(reference):
            live = references.find(reference)
            if isinstance(live, LiveBrain):
                live.require()


def _factory(name: str, thing: object) -> Callable[..., object]:
    missing = missing_methods(thing)
    if "ingest" not in missing:  # without suggest it may listen to everybody's runs
        return cast("Callable[..., object]", thing) if isinstance(thing, type) else LiveBrain(name, thing)
    if not isinstance(thing, type) and "suggest" in missing and callable(thing):
        return thing
    what = f"the class {thing.__name__}" if isinstance(thing, type) else f"an object of type {type(thing).__name__}"
    raise InvalidInput(f"{what} has no {' and no '.join(missing)}; a brain has suggest(num_points) and ingest(points)")


def _reborn(name: str, kind: str, doc: str | None, birth: bytes) -> LiveBrain:
    brain = LiveBrain(name, None)
    brain.__name__, brain.__doc__ = kind, doc
    brain._birth, brain._used = birth, True  # noqa: SLF001 - a copy of it, in another process  # pyright: ignore[reportPrivateUsage]
    return brain
