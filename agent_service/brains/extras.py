"""Extras of this package, which bring libraries of optimizers: what to install where one is not there."""

from __future__ import annotations

from importlib.metadata import metadata
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_US: Final = "bluesky-agent-service"


def how_to_install(package: str) -> str:
    """Return what to do where a package, by its name in Python, is missing: an extra of ours may bring it.

    Examples
    --------
    >>> how_to_install("bluesky_adaptive")
    "where the service runs, pip install 'bluesky-agent-service[ax]'"
    >>> how_to_install("somebody_elses")
    'it must be importable where the service runs'
    """
    ours = metadata(_US)
    extras = ours.get_all("Provides-Extra") or []
    if package not in extras:
        needed = [Requirement(line) for line in ours.get_all("Requires-Dist") or []]
        markers = [
            requirement.marker
            for requirement in needed
            if requirement.name == canonicalize_name(package) and requirement.marker is not None
        ]
        extras = [extra for extra in extras if any(marker.evaluate({"extra": extra}) for marker in markers)]
        package = extras[0] if extras else ""
    if not package:
        return "it must be importable where the service runs"
    return f"where the service runs, pip install '{_US}[{package}]'"
