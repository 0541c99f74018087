"""What moves devices: plans, the namespace of devices and plans, the queue of plans, and the sinks that run them.

Not here: what was measured (`documents`), and what decides what to measure (`agents`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.references import lazy

if TYPE_CHECKING:
    from agent_service.plans.library import acquire, move_to

__all__ = ["acquire", "move_to"]

# nobody loads Bluesky who only asks for a namespace; run_agent was here in 0.1.0
__getattr__ = lazy(__name__, {"acquire": "library", "move_to": "library", "run_agent": ".client.run_agent"})
