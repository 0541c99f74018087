"""What a task knows of its request: who acts, whether its facts may wait, who follows the call.

The gate sets who acts for each request. Tasks and worker threads that a request starts inherit all of it; those that
outlive their request, as an agent's loop, first call `enter_background`.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextvars import Token

    from agent_service.models import CallProgress

T = TypeVar("T")

OWNER: Final = "owner"
"""Name of the key of the first start, in a state directory or in AGENT_SERVICE_API_KEY."""

A_PERSON: Final = "a person"
"""What sentences call the owner, and whoever acts without a key."""

_Actor = tuple[str, bool]  # a key's name, and whether it may give a person's word

_acting: Final[ContextVar[_Actor | None]] = ContextVar("agent_service_actor", default=None)


def enter(name: str, *, approves: bool = False) -> Token[_Actor | None]:
    """Let ``name`` act from here on, in this task and those it starts; undone by `leave`.

    ``approves`` says whether its key has the scope for a person's word.
    """
    return _acting.set((name, approves))


def leave(token: Token[_Actor | None]) -> None:
    """Undo an `enter`."""
    _acting.reset(token)


def acting() -> str | None:
    """Return the name of the key whose request this is, or None when the service acts by itself."""
    actor = _acting.get()
    return None if actor is None else actor[0]


def may_approve() -> bool:
    """Return whether somebody acts whose key has the scope for a person's word."""
    actor = _acting.get()
    return actor is not None and actor[1]


def for_whom(call: Callable[[], T], *, approves: bool = True) -> Callable[[], T]:
    """Return a function that acts, in whatever thread calls it, for whoever acts here.

    Without ``approves``, it acts without a person's word.

    Examples
    --------
    >>> token = enter("anna", approves=True)
    >>> theirs, reading = for_whom(may_approve), for_whom(may_approve, approves=False)
    >>> leave(token)
    >>> theirs(), reading(), may_approve()
    (True, False, False)
    """
    actor = _acting.get()
    if actor is not None:
        actor = actor[0], actor[1] and approves

    def called() -> T:
        token = _acting.set(actor)
        try:
            return call()
        finally:
            _acting.reset(token)

    return called


def person() -> str:
    """Return who acts, for a sentence: a key's name, or `A_PERSON` if that says no more."""
    name = acting()
    return A_PERSON if name is None or name == OWNER else name


_request: Final[ContextVar[str | None]] = ContextVar("agent_service_request", default=None)


def mark_request(mark: str) -> Token[str | None]:
    """Let the facts of this task, and of those it starts, name the request that causes them."""
    return _request.set(mark)


def unmark_request(token: Token[str | None]) -> None:
    """Undo a `mark_request`."""
    _request.reset(token)


def request_mark() -> str | None:
    """Return the mark of a request that may be sent twice, and that this task works for; None for any other."""
    return _request.get()


_patience: Final[ContextVar[bool]] = ContextVar("agent_service_patience", default=False)


def be_patient() -> None:
    """Let the facts of this task, and of those it starts, wait for a journal that cannot be written now."""
    _patience.set(True)


def is_patient() -> bool:
    """Return whether facts of this task may wait for a journal that cannot be written now."""
    return _patience.get()


class Watcher(Protocol):
    """Whoever asked for a call, and follows it: a job."""

    @property
    def id(self) -> str | None:
        """Its id, where it can be found by one."""
        ...

    def began(self) -> None:
        """Its turn has come."""
        ...

    def progressed(self, progress: CallProgress) -> None:
        """Note how far the agent's code says it is."""
        ...


_watcher: ContextVar[Watcher | None] = ContextVar("agent_service_watcher", default=None)


@contextlib.contextmanager
def watched_by(watcher: Watcher | None) -> Generator[None]:
    """Let calls that are asked for within the block, and in tasks begun there, be followed; None: by nobody."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def enter_background() -> None:
    """Let this task work for the service itself: nobody acts, its facts wait for a full disk, and nobody follows it."""
    _acting.set(None)
    _request.set(None)
    _patience.set(True)
    _watcher.set(None)


def watcher() -> Watcher | None:
    """Return who follows the calls of this task, or None."""
    return _watcher.get()
