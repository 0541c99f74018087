"""Who may follow what: each service says whether it takes a key, and none that may do more than read is taken."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from agent_service.errors import BackendUnavailable, Forbidden, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.server.relay.followed import Followed

HOLDS_S: Final = 20.0
"""How long the word of a service about a key counts."""

_MOST_KEYS: Final = 32
_ASKED_AT_ONCE: Final = 8


@dataclass(slots=True)
class Grant:
    """What keys that were shown together open; ``ends`` is set when that changed."""

    services: frozenset[str]
    asked_at: float
    ends: asyncio.Event = field(default_factory=asyncio.Event)
    followers: int = 0


class Grants:
    """Asks the services about keys, and remembers what they said for a while; belongs to the event loop."""

    def __init__(self, followed: Mapping[str, Followed]) -> None:
        self._followed = followed
        self._known: dict[bytes, Grant] = {}
        self._asking: dict[bytes, asyncio.Task[frozenset[str]]] = {}
        self._turns = asyncio.Semaphore(_ASKED_AT_ONCE)

    @property
    def followers(self) -> int:
        """How many follow now."""
        return sum(grant.followers for grant in self._known.values())

    async def of(self, header: str) -> Grant:
        """Return what the keys in an ``Authorization`` header open.

        Raises `Unauthenticated` when no service takes one, `Forbidden` for a key that may do more than read,
        `BackendUnavailable` when no service that might take one answers.
        """
        keys = _keys_in(header)
        digest = hashlib.sha256("\n".join(keys).encode()).digest()
        grant, now = self._known.get(digest), asyncio.get_running_loop().time()
        if grant is None or now - grant.asked_at > HOLDS_S:
            services = await self._ask(digest, keys)
            grant = self._known.get(digest)
            if grant is None or grant.services != services:
                self._end(digest)
                grant = self._known[digest] = Grant(services, now)
            grant.asked_at = now
        return grant

    async def forget_unused(self) -> None:
        """Forget keys that nobody uses, for ever; a stream asks about its own keys itself (`check`)."""
        while True:
            await asyncio.sleep(HOLDS_S)
            for digest, grant in list(self._known.items()):
                if not grant.followers:
                    del self._known[digest]

    async def check(self, header: str, grant: Grant) -> None:
        """Return while a grant holds; ends it, by raising, when its keys were revoked."""
        if await self.of(header) is not grant:
            raise Unauthenticated("the key opens something else by now; connect again")

    def _end(self, digest: bytes) -> None:
        if (grant := self._known.pop(digest, None)) is not None:
            grant.ends.set()

    async def _ask(self, digest: bytes, keys: list[str]) -> frozenset[str]:
        if (task := self._asking.get(digest)) is None:  # a thousand who connect at a time ask once
            task = self._asking[digest] = asyncio.ensure_future(self._asked(digest, keys))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        try:
            return await asyncio.shield(task)
        except (Unauthenticated, Forbidden):
            self._end(digest)
            raise

    async def _asked(self, digest: bytes, keys: list[str]) -> frozenset[str]:
        known = self._known.get(digest)
        opened: set[str] = set()
        away = False
        for name, service in self._followed.items():
            for key in keys:
                try:
                    async with self._turns:
                        if await opens(service, key):
                            opened.add(name)
                except BackendUnavailable:  # what it said last counts as long as it is away
                    away = True
                    if known is not None and name in known.services:
                        opened.add(name)
        if opened:
            return frozenset(opened)
        if away:
            raise BackendUnavailable("a service that would have to know this key does not answer; try again")
        raise Unauthenticated("no service that is followed here takes this key; it is wrong, or was revoked")


async def opens(service: Followed, key: str) -> bool:
    """Return whether a service takes a key; raises `Forbidden` for one that may do more than read."""
    answer = await service.asked(key)
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return False
    if not answer.is_success:
        raise BackendUnavailable(f"{service.url} answered {answer.status_code} when a key was looked up")
    scopes = answer.json()["scopes"]
    if scopes != ["read"]:
        raise Forbidden(
            f"a relay takes keys that may only read, and this one may {', '.join(scopes)}; on the machine of the "
            "service, `agent-service keys create NAME --scopes read` makes one"
        )
    return True


def _keys_in(header: str) -> list[str]:
    scheme, _, given = header.partition(" ")
    keys = [key.strip() for key in given.split(",") if key.strip()]
    if scheme.lower() not in ("apikey", "bearer") or not keys:
        raise Unauthenticated("give a key that may read: Authorization: Apikey KEY, or KEY,KEY for several services")
    if len(keys) > _MOST_KEYS or not all(key.isascii() and key.isprintable() for key in keys):
        raise Unauthenticated(f"give at most {_MOST_KEYS} keys, of letters, digits and signs")
    return keys
