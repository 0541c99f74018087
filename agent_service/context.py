"""Who acts: the name of the key whose request is being carried out, for the facts that it causes.

The gate sets it for each request; tasks and worker threads that a request starts inherit it, and those that outlive
their request, as an agent's loop does, call `nobody` first.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contextvars import Token

OWNER: Final = "owner"
"""Name of the key of the first start, in a state directory or in AGENT_SERVICE_API_KEY."""

A_PERSON: Final = "a person"
"""What a sentence says of the owner, and of whoever acts without a key."""

_acting: Final[ContextVar[str | None]] = ContextVar("agent_service_actor", default=None)


def enter(name: str) -> Token[str | None]:
    """Let ``name`` act from here on, in this task and those it starts; undone by `leave`."""
    return _acting.set(name)


def leave(token: Token[str | None]) -> None:
    """Undo an `enter`."""
    _acting.reset(token)


def nobody() -> None:
    """Let the service itself act from here on: what this task does is nobody's request."""
    _acting.set(None)


def acting() -> str | None:
    """Return the name of the key whose request this is, or None when the service acts by itself."""
    return _acting.get()


def person() -> str:
    """Return who acts, for a sentence: a key's name, or `A_PERSON` where that says no more."""
    name = _acting.get()
    return A_PERSON if name is None or name == OWNER else name
