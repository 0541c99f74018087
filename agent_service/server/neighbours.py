"""Programs of this machine without a key: where that is switched on, the routes of bluesky-adaptive 0.x answer them."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

from agent_service.service.keys import Key, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NEIGHBOUR: Final = Key("neighbour", frozenset({Scope.READ, Scope.CONTROL}), digest=b"")
"""Who they are in the journal and the log, and what they may do."""

_PATHS: Final = re.compile(r"/api/(?:|variables/names|variable/.*)\Z", re.DOTALL)
_NAMES: Final = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?\Z", re.IGNORECASE)
_FROM_ELSEWHERE: Final = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})
"""Headers of a proxy: behind one everybody seems to be of this machine."""

_OF_BROWSER: Final = frozenset({b"origin", b"referer", b"sec-fetch-site"})
"""Headers of a browser: a page from anywhere may let it ask what it likes."""


def is_neighbour(scope: Mapping[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request is for those routes and of a program of this machine, as far as can be told."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    address: str = (scope.get("client") or ("",))[0]
    if not _PATHS.match(path) or not _is_loopback(address):
        return False
    hosts = 0
    for name, value in headers:
        if name in _FROM_ELSEWHERE or name in _OF_BROWSER or name == b"authorization":
            return False
        if name == b"host":
            hosts += 1
            if not _NAMES.match(value):
                return False
    return hosts == 1


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
