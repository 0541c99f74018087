"""What moves things: plans, the namespace of devices and plans, the queue of plans, and the sinks that run them.

Not here: what was measured (`documents`), and who decides what to measure (`agents`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent_service.plans.library import acquire, move_to

__all__ = ["acquire", "move_to"]

_HOMES = {"acquire": "plans.library", "move_to": "plans.library", "run_agent": "client.run_agent"}
"""Where each is; ``run_agent`` was here in 0.1.0."""


def __getattr__(name: str) -> object:  # nobody loads Bluesky who only asks for a namespace
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"agent_service.{_HOMES[name]}"), name)
