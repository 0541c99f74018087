"""How the command line was called, so that a person can call it again from the same folder."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

NAME: Final = "agent-service"


def command() -> str:
    """Return what to type for this very command: its name where the shell finds it, else its path."""
    running = Path(sys.argv[0])
    if running.name != NAME:
        return f"{shlex.quote(shown(Path(sys.executable)))} -m agent_service"
    found = shutil.which(NAME)
    # make puts .venv/bin on the path of its own commands only: another terminal has it if it activated the environment
    activated = sys.prefix == sys.base_prefix or sys.prefix in (
        os.environ.get("VIRTUAL_ENV"),
        os.environ.get("CONDA_PREFIX"),
    )
    if activated and found is not None and Path(found).resolve() == running.resolve():
        return NAME
    return shlex.quote(shown(running))


def shown(path: Path) -> str:
    """Return a path as short as it can be typed in the working directory."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
