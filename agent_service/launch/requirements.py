"""What an export needs from elsewhere: the packages that are installed here, at their versions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from agent_service.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE: Final = "bluesky-agent-service"


def distributions(modules: set[str]) -> list[metadata.Distribution]:
    """Return this package, then those that bring modules, and all that they need, by name.

    Modules that no installed package brings are passed over.
    """
    providers = metadata.packages_distributions()
    roots = {_normal(package) for name in modules for package in providers.get(name.partition(".")[0], ())}
    packages: dict[str, metadata.Distribution] = {}
    waiting = [_normal(PACKAGE), *sorted(roots)]
    while waiting:
        name = waiting.pop()
        if name in packages:
            continue
        try:
            packages[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        waiting += [_normal(needed) for needed in _needed(packages[name])]
    return [packages[name] for name in sorted(packages, key=lambda name: (name != _normal(PACKAGE), name))]


def _needed(package: metadata.Distribution) -> Iterator[str]:
    from packaging.requirements import Requirement  # noqa: PLC0415 - only an export needs it

    for text in package.requires or ():
        requirement = Requirement(text)
        extras = {"", "standard", "client", "server"}  # those of uvicorn and tiled that we ask for
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement.name


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(package: metadata.Distribution, wheels: Path) -> str:
    """Return a pinned requirement, which names no index, of an installed package.

    One that was installed from a folder, which no index has, is put into ``wheels``, beside the requirements; raises
    `UsageError` when no wheel of it could be built.
    """
    name = package.metadata["Name"]
    origin: dict[str, Any] = json.loads(package.read_text("direct_url.json") or "{}")
    if "dir_info" not in origin:
        return f"{name}=={package.version}"
    source = url2pathname(urlsplit(str(origin["url"])).path)
    wheels.mkdir(exist_ok=True)
    before = set(wheels.iterdir())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    made = set(wheels.iterdir()) - before
    if done.returncode != 0 or not made:
        why = (done.stderr.strip().splitlines() or ["pip does not say why"])[-1]
        raise UsageError(f"{name} was installed from {source}, and no wheel of it could be built: {why}")
    return f"./wheels/{made.pop().name}"
