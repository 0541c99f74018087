"""The services of this process, so that a plan finds its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class LocalAddress(NamedTuple):
    """A service of this process: where it listens, its key, and its state directory."""

    url: str
    api_key: str
    state: Path


_lock: Final = threading.Lock()
_services: Final[list[LocalAddress]] = []


def opened(service: LocalAddress) -> None:
    """Note that a service of this process answers."""
    with _lock:
        _services.append(service)


def closed(service: LocalAddress) -> None:
    """Note that a service of this process has ended; harmless the second time."""
    with _lock:
        _services[:] = [other for other in _services if other != service]


def services() -> list[LocalAddress]:
    """Return the services of this process; the one opened last is at the end."""
    with _lock:
        return list(_services)
