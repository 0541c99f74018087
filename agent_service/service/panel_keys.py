"""Keys of pages: those of notebooks, whose panels stop what moves without their kernel, and sessions at ``/``.

They live in memory only, for one origin each, and no longer than the key that asked for them. None is listed.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agent_service.errors import Forbidden, InvalidInput
from agent_service.service.keys import Key, Scope, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

LASTS_S: Final = 86_400.0
"""How long one counts after its kernel asked last, in seconds: who finds it dead in the morning can still stop."""

MAX_OF_KEY: Final = 128
"""Panel keys that one key may have; the next costs the one that ends first its place."""

PREFIX: Final = "basp_"
SCOPES: Final = frozenset(Scope) - {Scope.ADMIN}
"""What one of a notebook may do at most; never ``admin``, which is code."""

_ORIGIN: Final = re.compile(r"https?://[a-z0-9._~-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class PanelKey(Key):
    """The key of a page, for pages of ``origin`` alone.

    It ends with ``maker``, which asked for it, or at ``ends_at`` (monotonic, in seconds).
    """

    origin: str = ""
    maker: Key | None = None
    ends_at: float = 0.0

    @property
    def host(self) -> bytes:
        """Host and port of its origin: what ``Host`` says of requests that came through the notebook server."""
        return self.origin.partition("://")[2].encode()


class PanelKeys:
    """The panel keys of a running service; belongs to the event loop. ``clock`` gives monotonic time in seconds.

    Examples
    --------
    >>> keys = PanelKeys()
    >>> maker = Key("alice", frozenset({Scope.READ, Scope.ADMIN}), b"")
    >>> key, secret = keys.make(maker, "http://localhost:8888")
    >>> sorted(keys.find(secret, holds=lambda _: True).scopes), keys.admits("http://localhost:8888")
    (['read'], True)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys: dict[bytes, PanelKey] = {}

    def make(
        self, maker: Key, origin: str, *, renews: str | None = None, scopes: frozenset[Scope] = SCOPES
    ) -> tuple[PanelKey, str]:
        """Return a key with those of ``scopes`` that its maker has, and itself: ``renews`` anew, or another one.

        Raises `Forbidden` when the maker is a panel key itself, which would never end, `InvalidInput` for no
        ``origin``.
        """
        if isinstance(maker, PanelKey):
            raise Forbidden("a panel's key makes no other; only its kernel can, which has a key of its own")
        if not _ORIGIN.fullmatch(origin):
            raise InvalidInput("origin must be that of a web page, such as https://hub.example.org or http://host:8888")
        self._forget_ended()
        ends_at = self._clock() + LASTS_S
        earlier = None if renews is None else self._keys.get(digest_of(renews))
        if renews is not None and earlier is not None and (earlier.maker, earlier.origin) == (maker, origin):
            key, secret = replace(earlier, ends_at=ends_at), renews
        else:
            secret = f"{PREFIX}{secrets.token_hex(24)}"
            key = PanelKey(maker.name, maker.scopes & scopes, digest_of(secret), None, origin, maker, ends_at)
            self._make_room(maker)
        self._keys[key.digest] = key
        return key, secret

    def find(self, secret: str, *, holds: Callable[[Key], bool]) -> PanelKey | None:
        """Return a key that is valid now; ``holds`` tells whether the key that asked for it is."""
        key = self._keys.get(digest_of(secret))  # by its hash, whose place in a table tells nothing of the key
        return key if key is not None and self.holds(key, holds=holds) else None

    def holds(self, key: PanelKey, *, holds: Callable[[Key], bool]) -> bool:
        """Return whether a key that was found before is still valid."""
        kept = self._keys.get(key.digest)
        return kept is not None and kept.ends_at > self._clock() and kept.maker is not None and holds(kept.maker)

    def end(self, key: PanelKey) -> None:
        """End a key; nothing happens to one that has ended."""
        self._keys.pop(key.digest, None)

    def admits(self, origin: str) -> bool:
        """Return whether a page of this origin holds a key now."""
        now = self._clock()
        return any(key.origin == origin and key.ends_at > now for key in self._keys.values())

    def _make_room(self, maker: Key) -> None:
        of_maker = [digest for digest, key in self._keys.items() if key.maker == maker]
        if len(of_maker) >= MAX_OF_KEY:
            del self._keys[min(of_maker, key=lambda digest: self._keys[digest].ends_at)]

    def _forget_ended(self) -> None:
        now = self._clock()
        self._keys = {digest: key for digest, key in self._keys.items() if key.ends_at > now}
