"""The service's own RunEngine in a process of its own: the child, the connection to it, and the sink that uses it.

The child (`_child`, `_host`, `_kept_messages`) hosts the `RunEngineSink` that a notebook has in a thread; the service
has `_sink` instead, made of `_handed_plans`, `_permission`, `_steering`, `_devices` and `_next_process`. Both exchange
frames (`_frames`) over a unix socket, and `_turns` says which plans have begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.references import lazy

if TYPE_CHECKING:
    from agent_service.plans.sinks.engine_process._child_process import ChildProcess
    from agent_service.plans.sinks.engine_process._launcher import EngineLauncher
    from agent_service.plans.sinks.engine_process._link import EngineLink
    from agent_service.plans.sinks.engine_process._sink import EngineProcessSink
    from agent_service.plans.sinks.engine_process._turns import TurnFile

__all__ = ["ChildProcess", "EngineLauncher", "EngineLink", "EngineProcessSink", "TurnFile"]

_MODULES = {
    "ChildProcess": "_child_process",
    "EngineLauncher": "_launcher",
    "EngineLink": "_link",
    "EngineProcessSink": "_sink",
    "TurnFile": "_turns",
}

__getattr__ = lazy(__name__, _MODULES)  # the child needs none of these but one
