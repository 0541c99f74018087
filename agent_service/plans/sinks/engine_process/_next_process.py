"""The RunEngine's process when it has ended by itself: its plan failed, and another one takes its place."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent_service.errors import ServiceError
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.documents.sources.engine_process import EngineProcessSource
    from agent_service.plans.sinks.engine_process._handed_plans import HandedPlans
    from agent_service.plans.sinks.engine_process._link import EngineLink
    from agent_service.plans.sinks.engine_process._signals import EngineSignals
    from agent_service.plans.sinks.engine_process._steering import Steering
    from agent_service.plans.sinks.engine_settings import EngineSettings

_PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""How long to wait before each try to start the process again; the last one goes on."""

_LIVED_S: Final = 60.0
"""How long a process lives that counts as one that works: after it the pauses begin anew."""

_LEAVES: Final = "the RunEngine's process of before hands over what it has, and ends; plans go to the next one"

_log = logging.getLogger(__name__)


class NextProcess:
    """Starts the process again; ``away`` says why there is none that takes plans. Belongs to the event loop.

    ``leaves`` says whether the one that is there was told to end in the service's life before: it hands over what it
    has, and plans go to the one behind it; ``attached`` whether the one that is there hands over what it has.
    """

    def __init__(  # noqa: PLR0913 - what it is made of, by name
        self,
        link: EngineLink,
        settings: EngineSettings,
        *,
        source: EngineProcessSource,
        plans: HandedPlans,
        steering: Steering,
        signals: EngineSignals,
        on_change: Callable[[], None],
    ) -> None:
        self._link = link
        self._settings = settings
        self._source = source
        self._plans = plans
        self._steering = steering
        self._signals = signals
        self._on_change = on_change
        self._up_since = time.monotonic()
        self._tries = 0
        self._starting: asyncio.Task[None] | None = None
        self.attached = False
        self.leaves = link.hello is not None and link.hello.quitting
        self.away = _LEAVES if self.leaves else None

    def attach(self) -> None:
        """Let the process that is there hand over what it has, once."""
        if not self.attached:
            self.attached = True
            self._link.send(("attach",))
            if self.leaves:
                self._link.tell("quit")

    def stop(self) -> None:
        """Start none again."""
        if self._starting is not None:
            self._starting.cancel()

    def follow(self, how: str) -> None:
        """Fail the plan under way of a process that has ended, and start another unless the service stops."""
        stopped, why = self._steering.stopped, f"the RunEngine's process {how} during the plan"
        runs = tuple(self._source.interrupt(f"interrupted: the RunEngine's process {how}"))
        result = PlanResult(ExitStatus.FAIL, why, runs)
        if stopped is not None:
            result = PlanResult(ExitStatus.ABORT, f"{stopped}; {why}", runs)
        for plan in self._plans.under_way:
            self._plans.end(plan.number, result)
        self.away = f"the RunEngine's process {how}; it is started again"
        self._signals.lose(self.away)
        _log.log(logging.INFO if self.leaves else logging.ERROR, "%s", self.away)
        if self._steering.closing is None:
            self._starting = asyncio.ensure_future(self._start())
        self._on_change()

    async def _start(self) -> None:
        if time.monotonic() > self._up_since + _LIVED_S:
            self._tries = 0
        while True:
            await asyncio.sleep(_PAUSES_S[min(self._tries, len(_PAUSES_S) - 1)])
            self._tries += 1
            try:
                hello = await self._link.open(
                    replace(self._settings, md={**self._settings.md, **self._source.numbering})
                )
            except ServiceError as error:
                self.away = f"the RunEngine's process could not be started again: {error.detail}; it is tried again"
                _log.error("%s", self.away)
                self._on_change()
            else:
                break
        self.leaves = hello.quitting
        self.away = _LEAVES if self.leaves else None
        self._up_since, self.attached = time.monotonic(), False
        self.attach()
        self._signals.watch_again()
        self._steering.ask_again()
        for plan in self._plans.waiting:
            if plan.number not in hello.orders:  # else it is the very process, and has it still
                self._plans.hand_over(plan)
        _log.info("the RunEngine's process is there again")
        self._on_change()
