"""After a fault, with ``on_fault = "restart"``: the pause, the rebuilding by replay, and going on as before.

The agent's loop goes on meanwhile, and waits: a plan that is under way is seen through, and its outcome is told to the
new brain.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from agent_service.agents.tasks import Role
from agent_service.errors import BackendUnavailable, ServiceError
from agent_service.models.states import AgentState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_service.agents.agent import HostedAgent
    from agent_service.models import RestartAs


class BrainRestarter:
    """Brings one agent back after its faults; belongs to the event loop.

    Parameters
    ----------
    agent
        The agent.
    go_on
        ``await go_on(as_before)`` lets it go on when its brain is there.
    """

    def __init__(self, agent: HostedAgent, go_on: Callable[[RestartAs], Awaitable[None]]) -> None:
        self._agent = agent
        self._go_on = go_on
        agent.keeper.on_restart = self.begin

    def begin(self, pause_s: float) -> None:
        """Begin: the brain is built again after a pause."""
        self._agent.tasks.begin(Role.RESTART, self._restart(pause_s))

    async def _restart(self, pause_s: float) -> None:
        """Wait, build, and let it go on; lets no exception out."""
        await asyncio.sleep(pause_s)
        as_before = self._agent.record.restart_as
        if self._agent.record.state is not AgentState.STARTING or as_before is None:
            return
        with contextlib.suppress(BackendUnavailable):  # logged by the journal
            try:
                await self._agent.keeper.build()
                await self._go_on(as_before)
            except ServiceError as error:
                if not self._agent.keeper.restarts.survived(error):  # else another one is to come already
                    await self._agent.keeper.failed(error, during="restart")
