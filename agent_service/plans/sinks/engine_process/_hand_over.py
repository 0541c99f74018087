"""What the process kept while no service was there, handed over before anything is decided by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent_service.plans.sinks.engine_process._link import ANSWERS_WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent_service.documents.sources.engine_process import EngineProcessSource
    from agent_service.plans.sinks.engine_process._link import EngineLink


class HandOver:
    """Has the process hand over the documents that it has, to ``source``; belongs to the event loop."""

    def __init__(self, link: EngineLink, source: EngineProcessSource) -> None:
        self._link = link
        self._source = source
        self._runs: asyncio.Future[Collection[str]] = asyncio.get_running_loop().create_future()

    async def runs(self) -> Collection[str]:
        """Ask for it, and return the runs of which more may come when all that there is has come.

        Call it once, before the sink's `start`: what became of a suggestion is told by its documents. A process that
        hands nothing over for long is killed.
        """
        self._link.send(("hand over",))
        taken = -1
        while not self._runs.done():
            if taken == self._source.taken:
                self._link.kill("it does not hand over what it has")
            taken = self._source.taken
            await asyncio.wait({self._runs}, timeout=ANSWERS_WITHIN_S)
        return self._runs.result()

    def end(self, runs: Collection[str]) -> None:
        """Note that all has come, or that nothing more does."""
        if not self._runs.done():
            self._runs.set_result(runs)
