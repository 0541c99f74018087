"""The executor ``process``: each brain in a process of its own, which is killed when its deadline passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.references import lazy

if TYPE_CHECKING:
    from agent_service.executors.process._executor import ProcessExecutor
    from agent_service.executors.process._frames import packed_error, unpacked_error
    from agent_service.executors.process._relay import RelayHandle

__all__ = ["ProcessExecutor", "RelayHandle", "packed_error", "unpacked_error"]

_MODULES = {
    "ProcessExecutor": "_executor",
    "RelayHandle": "_relay",
    "packed_error": "_frames",
    "unpacked_error": "_frames",
}

__getattr__ = lazy(__name__, _MODULES)  # a process that holds a brain needs none of these
