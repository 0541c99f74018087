"""By which names the service may be spoken to: what keeps a web page of somebody else's out of a browser's network.

A page can let its own name resolve to a loopback or laboratory address (DNS rebinding), but the ``Host`` it sends is
still its name, and what it sends to other names carries its ``Origin``. An address in ``Host`` cannot be rebound.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

_REMEMBERED: Final = 256


class Hosts:
    """The names of a service: ``allowed`` beside ``localhost``, this machine's own, and every IP address.

    ``*.example.org`` is for all names below one, ``*`` for every name; ``origins`` are those of web pages elsewhere.
    """

    def __init__(self, allowed: Sequence[str], origins: Sequence[str]) -> None:
        self._allowed = tuple(name.lower().rstrip(".") for name in allowed)
        self._own = socket.gethostname().lower()
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._admitted: set[tuple[bytes, object]] = set()

    def admits(self, host: bytes, *, server: object) -> bool:
        """Return whether a ``Host`` header names this service; ``server`` is what the server calls itself."""
        if (host, server) in self._admitted:  # on the path of every request
            return True
        name = _name(host.decode("latin-1"))
        fine = self._is_listed(name) or name in ("localhost", self._own, server) or name.endswith(".localhost")
        if not (fine or _is_address(name)):
            return False
        if len(self._admitted) < _REMEMBERED:
            self._admitted.add((host, server))
        return True

    def admits_origin(self, origin: bytes, *, host: bytes) -> bool:
        """Return whether a page of this ``Origin`` may send requests: one of our own, or one that is listed."""
        text = origin.decode("latin-1").lower()
        if text in self._origins or "*" in self._allowed:
            return True
        try:
            parts = urlsplit(text)
        except ValueError:
            return False
        return bool(parts.netloc) and (
            parts.netloc == host.decode("latin-1").lower() or self._is_listed(_name(parts.netloc))
        )

    def _is_listed(self, name: str) -> bool:
        return any(
            allowed in ("*", name) or (allowed.startswith("*.") and name.endswith(allowed[1:]))
            for allowed in self._allowed
        )


def _name(authority: str) -> str:
    """Return the host in ``host:port``, in lower case, without brackets and a final dot."""
    text = authority.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
