"""The executor ``process``: each brain in a process of its own, which is killed when its deadline passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.references import lazy

if TYPE_CHECKING:
    from agent_service.executors.process._executor import ProcessExecutor
    from agent_service.executors.process._pickling import pickled

__all__ = ["ProcessExecutor", "pickled"]

_MODULES = {"ProcessExecutor": "_executor", "pickled": "_pickling"}

__getattr__ = lazy(__name__, _MODULES)  # a process that holds a brain needs none of these
