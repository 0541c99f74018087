"""The executor ``process``: each brain in a process of its own, which is killed when its deadline passes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent_service.executors.process._executor import ProcessExecutor
    from agent_service.executors.process._pickling import pickled

__all__ = ["ProcessExecutor", "pickled"]

_MODULES = {"ProcessExecutor": "_executor", "pickled": "_pickling"}


def __getattr__(name: str) -> object:  # a process that holds a brain needs none of these
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
