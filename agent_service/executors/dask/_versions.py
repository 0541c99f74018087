"""What has to be the same in the service and on a worker, so that code travels between them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import TYPE_CHECKING

from agent_service._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "bluesky-agent-service"


def versions() -> dict[str, str]:
    """Return the versions of this process. Cloudpickle sends bytecode, which differs between minors of Python."""
    return {"Python": minor(platform.python_version()), PACKAGE: __version__}


def minor(python: str) -> str:
    """Return the minor version of a version of Python: 3.11 of 3.11.2.

    Examples
    --------
    >>> minor("3.11.2.final.0")
    '3.11'
    """
    return ".".join(python.split(".")[:2])


def misfit(worker: str, there: Mapping[str, str], here: Mapping[str, str]) -> str | None:
    """Return what keeps a worker with the versions ``there`` from hosting agents of a service with ``here``.

    Examples
    --------
    >>> misfit("tcp://w7:4711", {"Python": "3.12"}, {"Python": "3.11"})
    'the worker tcp://w7:4711 has Python 3.12, and the service has Python 3.11; install there what the service has'
    """
    wrong = [name for name in here if there.get(name) != here[name]]
    if not wrong:
        return None
    has = " and ".join(f"{name} {there[name]}" if name in there else f"no {name}" for name in wrong)
    wants = " and ".join(f"{name} {here[name]}" for name in wrong)
    return f"the worker {worker} has {has}, and the service has {wants}; install there what the service has"


def here_of(module: str) -> str:
    """Say which version of a module the service has, for who has to install it on a worker."""
    root = module.partition(".")[0]
    for name in packages_distributions().get(root, ()):
        try:
            return f"the service has {name} {version(name)}"
        except PackageNotFoundError:  # half removed
            continue
    return f"{root} belongs to no package that is installed with the service"
