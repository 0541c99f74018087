"""Codes with which a browser is logged in once: short-lived, in memory only, and of no use a second time."""

from __future__ import annotations

import hmac
import secrets
import time
from typing import TYPE_CHECKING, Final

from agent_service.errors import Forbidden
from agent_service.service.keys import Key, digest_of
from agent_service.service.panel_keys import PanelKey

if TYPE_CHECKING:
    from collections.abc import Callable

LASTS_S: Final = 60.0
"""How long a code can be used, in seconds."""

MAX_CODES: Final = 64
"""Codes that wait to be used; the next costs the oldest its place."""


class LoginCodes:
    """The codes of a running service; belongs to the event loop. ``clock`` gives monotonic time in seconds.

    Examples
    --------
    >>> codes = LoginCodes()
    >>> code = codes.make(Key("alice", frozenset(), b""))
    >>> codes.redeem(code).name, codes.redeem(code)
    ('alice', None)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._codes: dict[bytes, tuple[Key, float]] = {}

    def make(self, maker: Key) -> str:
        """Return a code for who holds a key; `Forbidden` for a page, whose session would never end."""
        if isinstance(maker, PanelKey):
            raise Forbidden("a page makes no codes; `agent-service open` on the service's machine does, or paste a key")
        now = self._clock()
        self._codes = {digest: code for digest, code in self._codes.items() if code[1] > now}
        if len(self._codes) >= MAX_CODES:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(32)
        self._codes[digest_of(code)] = maker, now + LASTS_S
        return code

    def redeem(self, code: str) -> Key | None:
        """Return the key that a code was made for, or None; whatever it is, it is used now."""
        digest = digest_of(code)
        match = None
        for kept in self._codes:  # all of them, so that the time tells nothing
            if hmac.compare_digest(kept, digest):
                match = kept
        if match is None:
            return None
        maker, ends_at = self._codes.pop(match)
        return maker if ends_at > self._clock() else None
